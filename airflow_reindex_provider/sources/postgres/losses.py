"""Losses: a table beside a child's that triggers write the keys of owners to that have lost a row of it, with the time.

A row that is deleted leaves its owner, and so does one whose foreign key changes; of a table that is referred to, one that is
deleted leaves all that refer to it. Nothing is unique here: two transactions that take rows from one owner never wait for each
other.

What is written does not hang on who the owners are, so one such table may serve several: an order's two addresses, and what
refers to rows of one table or another. Each install adds its own to the table's comment; a purge asks them all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from psycopg import sql

from airflow_reindex_provider.core.model import Key
from airflow_reindex_provider.databases.postgres.names import quoted, render
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
  OR {ownerless})
"""
_OWNED = """
DO $reindex$ BEGIN
  IF {owner} <> ALL (string_to_array(coalesce(obj_description({losses}::regclass), ''), E'\\n')) THEN
    EXECUTE format('COMMENT ON TABLE %s IS %L', {losses}::regclass,
      concat_ws(E'\\n', obj_description({losses}::regclass), {owner}));
  END IF;
END $reindex$;"""


@dataclass(frozen=True, slots=True)
class Losses(Tombstones):
    """Of one part. ``source`` is a definition of its table whose key is the columns that join it to its owner.

    :ivar owner: schema and name of the table that has the owners. :ivar to: its columns."""

    owner: tuple[str, str]
    to: tuple[str, ...]

    FUNCTION: ClassVar[str] = BEGIN + _RECORD + END
    INSTALL: ClassVar[str] = MAKE_TABLE + _INDEX + MAKE_TRIGGERS

    def old(self, below: str, keep: Sequence[Key]) -> sql.Composed:
        """Those below a cursor value without which no version is another; so no document needs its own kept."""

        def same(one: str, columns: Sequence[str]) -> sql.Composed:
            pairs = zip(columns, self.source.key, strict=True)
            return sql.SQL(" AND ").join(
                sql.SQL("{} = {}").format(sql.Identifier(one, a), sql.Identifier("l", b)) for a, b in pairs
            )

        ownerless = sql.SQL(" AND ").join(
            sql.SQL("NOT EXISTS (SELECT FROM {} AS o WHERE {})").format(
                sql.Identifier(*found["owner"]), same("o", found["columns"])
            )
            for found in self._owners
        )
        return sql.SQL(_OLD).format(
            losses=self._tombstones,
            table=self._table,
            cursor=sql.Identifier(self.source.cursor_field),
            below=sql.Literal(below),
            same_loss=same("m", self.source.key),
            same_row=same("t", self.source.key),
            ownerless=ownerless,
        )

    def installation(self) -> str:
        losses = sql.Literal(render(self._tombstones))
        owned = sql.SQL(_OWNED).format(owner=sql.Literal(self._owned), losses=losses)
        return Tombstones.installation(self) + render(owned)

    def _wrong(self) -> str | None:
        if wrong := Tombstones._wrong(self):
            return wrong
        if json.loads(self._owned) not in self._installed:
            return f"{self.source.tombstone_table} was not made for rows of {quoted([self.owner[1]])} by ({quoted(self.to)})"
        return None

    @property
    def _owned(self) -> str:
        """A line of the comment."""
        return json.dumps({"owner": self.owner, "columns": self.to})

    @property
    def _installed(self) -> list[dict[str, list[str]]]:
        """Whose losses they are made for, of tables that are still there."""
        return self.catalogue.facts["tombstones"]["owners"] or []

    @property
    def _owners(self) -> list[dict[str, list[str]]]:
        own = json.loads(self._owned)
        return [own, *(other for other in self._installed if other != own)]

    @property
    def _loose(self) -> tuple[str, ...]:
        """Values that are equal are one owner's, whatever their texts."""
        return ()

    def _is_indexed(self, indexes: Catalogue) -> bool:
        cursor, key = self.source.cursor_field, self.source.key
        return indexes.has_index_on((cursor, *key)) and indexes.has_index_on((*key, cursor))
