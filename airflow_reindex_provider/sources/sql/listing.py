"""The keys of a table in the order of ``core.keys``, for a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.keys import KeyRange, Listed
from airflow_reindex_provider.core.model import Key
from airflow_reindex_provider.sources.sql.asking import FETCHED_ROWS, Asking
from airflow_reindex_provider.sources.sql.relation import Relation, texts

_ASKED_AT_ONCE = 100
"""Look-ups are the parts of one union, of which some databases take a few hundred."""


@dataclass(frozen=True, slots=True)
class Listing:
    relation: Relation
    asking: Asking
    label: str

    def ranges(self, within: KeyRange, *, rows: int, max_ranges: int) -> list[tuple[KeyRange, int]]:
        self._require_order()
        (counted,) = self.asking.one(self.relation.count_within(within))
        count = int(counted)
        parts = min(max_ranges, -(-count // rows))
        if parts <= 1:
            return [(within, count)]
        step = -(-count // parts)
        cuts = [texts(self.relation.rows.key, row) for row in self.asking.all(self.relation.key_starts(within, step))]
        # The last one holds the rest; rows that came or went between the two statements move no edge.
        rest = max(0, count - step * len(cuts))
        return list(zip(within.cut(cuts), [*([step] * len(cuts)), rest], strict=True))

    def keys(self, within: KeyRange, *, below: str) -> Iterator[list[Listed]]:
        """One statement, so one snapshot wherever a statement has one."""
        self._require_order()
        bound = self.relation.rows.cursor.kind.ordinal(below)
        for piece in self.asking.pieces(self.relation.listed(within)):
            yield [self._entry(row, bound) for row in piece]

    def look_up(self, keys: Sequence[Key], *, below: str) -> Mapping[Key, Listed]:
        bound = self.relation.rows.cursor.kind.ordinal(below)
        found: dict[Key, Listed] = {}
        for begin in range(0, len(keys), _ASKED_AT_ONCE):
            asked = keys[begin : begin + _ASKED_AT_ONCE]
            for number, *row in self.asking.all(self.relation.looked_up(asked)):
                found[asked[number]] = self._entry(row, bound)
        return found

    def keys_from(self, cursor: str) -> Iterator[list[Key]]:
        yield from self.keys_of(self.relation.keys_from(cursor))

    def keys_of(self, statement: sa.Select[Any]) -> Iterator[list[Key]]:
        """:param statement: selects key parts."""
        for piece in self.asking.pieces(statement, rows=FETCHED_ROWS):
            yield [texts(self.relation.rows.key, row) for row in piece]

    def _entry(self, row: Sequence[Any], bound: int) -> Listed:
        part = self.relation.rows
        *key, cursor, gone = row
        version = None if cursor is None else part.version_of(cursor)
        return Listed(texts(part.key, key), None if version is None or version >= bound else version, bool(gone))

    def _require_order(self) -> None:
        """:raises ConfigurationError: the database cannot list the keys in order."""
        if any(column.order is None for column in self.relation.rows.key):
            raise ConfigurationError(
                f"{self.label} cannot be swept: it is not known how this database orders the key's texts byte by byte. A key of"
                " whole numbers is in order everywhere."
            )
