"""Losses: a table beside a child's that triggers write the keys of owners to that have lost a row of it, with the time.

A row that is deleted leaves its owner, and so does one whose foreign key changes; of a table that is referred to, one that is
deleted leaves all that refer to it. Nothing is unique here: two transactions that take rows from one owner never wait for each
other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from psycopg import sql

from airflow_reindex_provider.core.model import Key
from airflow_reindex_provider.databases.postgres.names import identifier
from airflow_reindex_provider.sources.postgres.tombstones import BEGIN, END, MAKE_TABLE, MAKE_TRIGGERS, Tombstones

if TYPE_CHECKING:
    from airflow_reindex_provider.sources.postgres.catalog import Catalogue

_RECORD = """\
    INSERT INTO {tombstones} ({key}, {cursor}) SELECT DISTINCT {key}, {stamp} FROM {table} AS t WHERE ({key}) IS NOT NULL;
  ELSIF ({old_key}) IS NOT NULL THEN
    INSERT INTO {tombstones} ({key}, {cursor}) VALUES ({old_key}, {stamp});
"""
_INDEX = "CREATE INDEX IF NOT EXISTS {key_index} ON {tombstones} ({key}, {cursor});\n"
# See sources/sql/parts.py for why a document's version is not lowered by it.
_OLD = """
FROM {losses} AS l WHERE l.{cursor} < {below} AND (
  EXISTS (SELECT FROM {losses} AS m WHERE {same_loss} AND (m.{cursor}, m.ctid) > (l.{cursor}, l.ctid))
  OR EXISTS (SELECT FROM {table} AS t WHERE {same_row} AND t.{cursor} >= l.{cursor})
  OR NOT EXISTS (SELECT FROM {owner} AS o WHERE {same_owner}))
"""


@dataclass(frozen=True, slots=True)
class Losses(Tombstones):
    """Of one part. ``source`` is a definition of its table whose key is the columns that join it to its owner.

    :ivar owner: name of the table that has the owners. :ivar to: its columns."""

    owner: str
    to: tuple[str, ...]

    FUNCTION: ClassVar[str] = BEGIN + _RECORD + END
    INSTALL: ClassVar[str] = MAKE_TABLE + _INDEX + MAKE_TRIGGERS

    def old(self, below: str, keep: Sequence[Key]) -> sql.Composed:
        """Those below a cursor value without which no version is another; so no document needs its own kept."""

        def same(one: str, columns: tuple[str, ...]) -> sql.Composed:
            pairs = zip(columns, self.source.key, strict=True)
            return sql.SQL(" AND ").join(
                sql.SQL("{} = {}").format(sql.Identifier(one, a), sql.Identifier("l", b)) for a, b in pairs
            )

        return sql.SQL(_OLD).format(
            losses=self._tombstones,
            table=self._table,
            owner=identifier(self.owner),
            cursor=sql.Identifier(self.source.cursor_field),
            below=sql.Literal(below),
            same_loss=same("m", self.source.key),
            same_row=same("t", self.source.key),
            same_owner=same("o", self.to),
        )

    @property
    def _loose(self) -> tuple[str, ...]:
        """Values that are equal are one owner's, whatever their texts."""
        return ()

    def _is_indexed(self, indexes: Catalogue) -> bool:
        cursor, key = self.source.cursor_field, self.source.key
        return indexes.has_index_on((cursor, *key)) and indexes.has_index_on((*key, cursor))
