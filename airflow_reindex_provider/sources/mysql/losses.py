"""Losses: a table beside a child's that triggers write the keys of owners to that have lost a row of it, with the time.

A row that is deleted leaves its owner, and so does one whose foreign key changes; of a table that is referred to, one that is
deleted leaves all that refer to it. A number of its own is all that is unique here: two transactions that take rows from one
owner never wait for each other. One such table may serve several owners, which its comment names; a purge asks them all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from airflow_reindex_provider.sources.mysql.tombstones import Tombstones, quoted
from airflow_reindex_provider.sources.sql.relation import CursorColumn

_NUMBER = "reindex_number"
_AT_ONCE = 1000
_COMMENT = "SELECT table_comment FROM information_schema.tables WHERE table_schema = :schema AND table_name = :name"
_EXISTS = "SELECT 1 FROM information_schema.tables WHERE table_schema = :schema AND table_name = :name"
Owner = tuple[str, str, tuple[str, ...]]
"""Schema and name of a table that has owners, and its columns."""


@dataclass(frozen=True, slots=True)
class Losses(Tombstones):
    """Of one part. ``source`` is a definition of its table whose key is the columns that join it to its owner.

    :ivar owners: of all parts of the source that this table of losses serves, this one's first."""

    owners: tuple[Owner, ...]

    def stones(self, types: Mapping[str, Any]) -> sa.TableClause:
        """The table. :param types: of its columns."""
        columns = (*self.source.key, self.source.cursor_field)
        return sa.table(self._name, sa.column(_NUMBER), *(sa.column(n, types[n]) for n in columns), schema=self._schema)

    # -- forgetting

    def forgetting(self, rows: sa.TableClause, cursor: CursorColumn, below: str) -> Iterator[sa.Executable]:
        """Deletes those below a cursor value without which no version is another; see ``sources/sql/parts.py`` for why. They are
        found first: what a DELETE looks at it locks, and writers would wait for it. Nothing that happens meanwhile makes one of
        them needed.

        :param rows: the part's own table. :param cursor: says how its values are bound."""
        losses = self.stones({n: c.type for n, c in rows.c.items()})
        numbers = [int(number) for (number,) in self.asking.all(self._old(rows, cursor, below))]
        for begin in range(0, len(numbers), _AT_ONCE):
            yield sa.delete(losses).where(losses.c[_NUMBER].in_(numbers[begin : begin + _AT_ONCE]))

    def forgettable(self, rows: sa.TableClause, cursor: CursorColumn, below: str) -> int:
        found = self._old(rows, cursor, below).subquery("o")
        return int(self.asking.one(sa.select(sa.func.count()).select_from(found))[0])

    def _old(self, rows: sa.TableClause, cursor: CursorColumn, below: str) -> sa.Select[Any]:
        table = self.stones({n: c.type for n, c in rows.c.items()})
        lost, later, there = table.alias("l"), table.alias("m"), rows.alias("t")
        key, at = self.source.key, self.source.cursor_field

        def same(row: sa.FromClause, columns: Sequence[str]) -> sa.ColumnElement[bool]:
            return sa.and_(*(row.c[a] == lost.c[b] for a, b in zip(columns, key, strict=True)))

        is_later = (later.c[at] > lost.c[at]) | ((later.c[at] == lost.c[at]) & (later.c[_NUMBER] > lost.c[_NUMBER]))
        ownerless = []
        for schema, name, columns in self._all_owners():
            owner = sa.table(name, *map(sa.column, columns), schema=schema).alias("o")
            ownerless.append(~sa.exists().select_from(owner).where(same(owner, columns)).correlate(lost))
        return sa.select(lost.c[_NUMBER]).where(
            lost.c[at] < cursor.bind(below),
            sa.or_(
                sa.exists().select_from(later).where(same(later, key), is_later).correlate(lost),
                sa.exists().select_from(there).where(same(there, key), there.c[at] >= lost.c[at]).correlate(lost),
                sa.and_(*ownerless),
            ),
        )

    # -- what must be there

    def _wrong(self) -> str | None:
        if wrong := Tombstones._wrong(self):
            return wrong
        _, name, columns = self.owners[0]
        if self.owners[0] not in self._installed():
            return f"{self.source.tombstone_table} was not made for rows of {name} by ({', '.join(columns)})"
        return None

    def _is_indexed(self, indexes: Mapping[str, Sequence[str]]) -> bool:
        key, at = list(self.source.key), self.source.cursor_field
        return all(
            any(columns[: len(wanted)] == wanted for columns in map(list, indexes.values()))
            for wanted in ([at, *key], [*key, at])
        )

    def _are_columns(self, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
        return {n: c for n, c in found.items() if n != _NUMBER} == wanted and _NUMBER in found

    def _installed(self) -> list[Owner]:
        """Whose losses they are made for, by the table's comment."""
        found = self.asking.first(sa.text(_COMMENT).bindparams(schema=self._schema, name=self._name))
        lines = str(found[0] or "").splitlines() if found else []
        told = (json.loads(line) for line in lines if line.startswith("["))
        return [(schema, name, tuple(columns)) for schema, name, columns in told]

    def _all_owners(self) -> list[Owner]:
        """Of tables that are still there."""
        others = (owner for owner in self._installed() if owner not in self.owners)
        there = (o for o in others if self.asking.first(sa.text(_EXISTS).bindparams(schema=o[0], name=o[1])))
        return [*self.owners, *there]

    # -- statements

    def installation(self) -> list[str]:
        said = "\n".join(json.dumps(owner) for owner in self._all_owners())
        text = said.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n")
        return [*Tombstones.installation(self), f"ALTER TABLE {self._tombstones} COMMENT = '{text}'"]

    def _indexes(self) -> str:
        at = quoted(self.source.cursor_field)
        return (
            f"{_NUMBER} BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,"
            f" KEY {quoted(f'{self._name}_order')} ({at}, {self._key}), KEY {quoted(f'{self._name}_key')} ({self._key}, {at})"
        )

    def _body(self, event: str) -> str:
        key = self.source.key
        names = ", ".join(map(quoted, (*key, self.source.cursor_field)))
        values = ", ".join([*(f"OLD.{quoted(n)}" for n in key), self._stamp])
        had = " AND ".join(f"OLD.{quoted(n)} IS NOT NULL" for n in key)
        stays = " AND ".join(f"OLD.{quoted(n)} <=> NEW.{quoted(n)}" for n in key)
        condition = f"{had} AND NOT ({stays})" if event == "update" else had
        return f"INSERT INTO {self._tombstones} ({names}) SELECT {values} FROM DUAL WHERE {condition}"
