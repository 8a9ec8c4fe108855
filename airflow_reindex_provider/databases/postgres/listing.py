"""Keys of a Postgres table in the order of ``core.keys``, and their checksums: the same statements for source and target.

A range costs what it holds where an index has this order: on integers and uuids as they are, on text with the collation "C".
Elsewhere every range is a scan of the whole table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

from airflow_reindex_provider.core.errors import TransientError
from airflow_reindex_provider.core.keys import INTEGERS, Checksum, KeyKind, KeyRange, Listed
from airflow_reindex_provider.core.model import Key

if TYPE_CHECKING:
    import psycopg

PAGE_ROWS = 1000


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """A column of the key, as SQL: its value, what it is ordered by, and its type there."""

    value: sql.Composable
    order: sql.Composable
    cast: sql.SQL
    """What makes the text of a value comparable with it."""

    @classmethod
    def of(cls, value: sql.Composable, kind: KeyKind, type: str) -> KeyColumn:
        """:param type: the column's own type; integers and uuids keep their order, so an index on them serves."""
        if kind is KeyKind.NUMBER:
            number = value if type in INTEGERS else sql.SQL("({})::bigint").format(value)
            return cls(number, number, sql.SQL("::bigint"))
        text = sql.SQL('({})::text COLLATE "C"').format(value)
        if type == "uuid":
            return cls(text, value, sql.SQL("::uuid"))
        return cls(text, text, sql.SQL('::text COLLATE "C"'))

    @property
    def text(self) -> sql.Composed:
        return sql.SQL('({})::text COLLATE "C"').format(self.value)

    def literal(self, text: str) -> sql.Composed:
        return sql.Literal(text) + self.cast


@dataclass(frozen=True, slots=True)
class Asked:
    """Keys to look up, as SQL: their texts, the relation that has these, and when a row has the value of one."""

    texts: tuple[sql.Composable, ...]
    body: sql.Composable
    equal: sql.Composable


@dataclass(frozen=True, slots=True)
class KeyList:
    """The rows to list: where they are, what their key, version and deletion are as SQL, and what lies below the bound."""

    body: sql.Composable
    columns: tuple[KeyColumn, ...]
    version: sql.Composable
    gone: sql.Composable
    below: sql.Composable
    contents: tuple[sql.Composable, ...] = ()
    """Values that checksums are over besides keys and versions."""

    def key_ranges(
        self, connection: psycopg.Connection[Any], within: KeyRange, *, rows: int, max_ranges: int
    ) -> list[tuple[KeyRange, int]]:
        count = self._count(connection, within)
        parts = min(max_ranges, -(-count // rows))
        if parts <= 1:
            return [(within, count)]
        step = -(-count // parts)
        names = [sql.Identifier(f"k{n}") for n in range(len(self.columns))]
        statement = sql.SQL(
            "SELECT {names} FROM (SELECT {texts}, row_number() OVER (ORDER BY {order}) - 1 AS n FROM {body} WHERE {within})"
            " AS s WHERE n > 0 AND n % {step} = 0 ORDER BY n"
        ).format(
            names=_comma(names),
            texts=_comma([sql.SQL("{} AS {}").format(c.text, n) for c, n in zip(self.columns, names, strict=True)]),
            order=self._order(),
            body=self.body,
            within=self._within(within),
            step=sql.Literal(step),
        )
        cuts = [tuple(row) for row in connection.execute(statement)]
        # The last one holds the rest; rows that came or went between the two statements move no edge.
        rest = max(0, count - step * len(cuts))
        return list(zip(within.cut(cuts), [*([step] * len(cuts)), rest], strict=True))

    def keys(self, connection: psycopg.Connection[Any], within: KeyRange) -> Iterator[list[Listed]]:
        """One COPY, so one snapshot; its end is checked against the count that the server gives."""
        statement = sql.SQL(
            "COPY (SELECT {texts}, CASE WHEN {below} THEN {version} END, ({gone})::boolean FROM {body} WHERE {within}"
            " ORDER BY {order}) TO STDOUT"
        ).format(
            texts=_comma([c.text for c in self.columns]),
            below=self.below,
            version=self.version,
            gone=self.gone,
            body=self.body,
            within=self._within(within),
            order=self._order(),
        )
        width = len(self.columns)
        listed = 0
        page: list[Listed] = []
        with connection.cursor() as cursor:
            with cursor.copy(statement) as copy:
                for row in copy.rows():
                    version = row[width]
                    page.append(Listed(row[:width], None if version is None else int(version), row[width + 1] == "t"))
                    if len(page) == PAGE_ROWS:
                        listed += PAGE_ROWS
                        yield page
                        page = []
            listed += len(page)
            if cursor.rowcount != listed:
                raise TransientError(
                    f"A listing of keys ended after {listed} rows, and the server sent {cursor.rowcount}."
                )
        if page:
            yield page

    def checksum(self, connection: psycopg.Connection[Any], within: KeyRange) -> Checksum:
        # Key and version go into one hash, so no two rows can swap theirs unseen; its sum does not hang on their order.
        hashed: sql.Composable = self.version
        for column in self.columns:
            hashed = sql.SQL("hashtextextended({}, {})").format(column.text, hashed)
        for value in self.contents:
            # Each hash is the seed of the next, so values cannot run into each other, and NULL is no text.
            hashed = sql.SQL("hashtextextended(coalesce('=' || ({})::text, ''), {})").format(value, hashed)
        statement = sql.SQL(
            "SELECT count(*), coalesce(sum({hashed}), 0)::text FROM {body} WHERE {within} AND {below} AND NOT ({gone})"
        ).format(hashed=hashed, body=self.body, within=self._within(within), below=self.below, gone=self.gone)
        row = connection.execute(statement).fetchone()
        assert row is not None
        return Checksum(*row)

    def look_up(self, connection: psycopg.Connection[Any], asked: Asked) -> dict[Key, Listed]:
        statement = sql.SQL(
            "SELECT CASE WHEN {below} THEN {version} END, ({gone})::boolean, {texts}, {asked} FROM {list} JOIN {body} ON {equal}"
        ).format(
            below=self.below,
            version=self.version,
            gone=self.gone,
            texts=_comma([c.text for c in self.columns]),
            asked=_comma(asked.texts),
            list=asked.body,
            body=self.body,
            equal=asked.equal,
        )
        found: dict[Key, Listed] = {}
        width = len(self.columns)
        for version, gone, *key in connection.execute(statement):
            found[tuple(key[width:])] = Listed(tuple(key[:width]), version, gone)
        return found

    def _count(self, connection: psycopg.Connection[Any], within: KeyRange) -> int:
        statement = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(self.body, self._within(within))
        row = connection.execute(statement).fetchone()
        assert row is not None
        return int(row[0])

    def _within(self, within: KeyRange) -> sql.Composed:
        """The range as a condition. The bound on the first column says nothing new, but an index can use it where the
        other columns are ordered in another way."""
        conditions: list[sql.Composable] = []
        for key, operator in ((within.start, ">="), (within.end, "<")):
            if key is None:
                continue
            place = self._literals(key)
            conditions.append(_compared(_row([c.order for c in self.columns]), operator, _row(place)))
            if len(place) > 1:
                conditions.append(_compared(self.columns[0].order, operator[0] + "=", place[0]))
        return sql.SQL(" AND ").join(conditions or [sql.SQL("true")])

    def _literals(self, key: Key) -> list[sql.Composed]:
        return [c.literal(part) for c, part in zip(self.columns, key, strict=True)]

    def _order(self) -> sql.Composed:
        return _comma([c.order for c in self.columns])


def _row(parts: Sequence[sql.Composable]) -> sql.Composable:
    return parts[0] if len(parts) == 1 else sql.SQL("({})").format(_comma(parts))


def _compared(left: sql.Composable, operator: str, right: sql.Composable) -> sql.Composed:
    return sql.SQL("{} " + operator + " {}").format(left, right)


def _comma(parts: Sequence[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)
