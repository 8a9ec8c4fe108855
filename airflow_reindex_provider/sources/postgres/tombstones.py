"""Tombstones: a table beside the source's that triggers write deleted keys to, so that deletions are read like rows.

A tombstone carries the time of its transaction, as a row stamped with ``now()`` does, so the horizon holds for both: of all
states of a key that were ever read, its deletion has the greatest cursor value. One key has one tombstone, the latest. While
a row with its key exists the tombstone is not read, whatever its time: the row says how things are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from psycopg import sql

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Key
from airflow_reindex_provider.databases.postgres.connection import connect
from airflow_reindex_provider.databases.postgres.errors import explained
from airflow_reindex_provider.databases.postgres.names import render, split_name
from airflow_reindex_provider.databases.postgres.transactions import transaction
from airflow_reindex_provider.sources.sql.definition import require_stamps

if TYPE_CHECKING:
    from airflow_reindex_provider.sources.postgres.catalog import Catalogue
    from airflow_reindex_provider.sources.postgres.definition import PostgresDefinition

MARK = "reindex_tombstone"
"""Column of what is read: true for a tombstone, false for a row."""
TAG = "airflow_reindex_tombstones"
EVENTS = ("delete", "update", "truncate")
LOCK_TIMEOUT = "10s"

# The parts that a table of tombstones and one of losses have in common.
BEGIN = """
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
      RAISE EXCEPTION 'TRUNCATE of % is recorded in READ COMMITTED transactions only: this one may not see all rows',
        TG_TABLE_NAME;
    END IF;
"""
END = """  END IF;
  RETURN NULL;
END
"""
MAKE_TABLE = """
SET LOCAL lock_timeout = {lock_timeout};
CREATE TABLE IF NOT EXISTS {tombstones} AS SELECT {key}, {cursor} FROM {table} WITH NO DATA;
ALTER TABLE {tombstones} {not_null};
"""
# ENABLE ALWAYS: a replica's sessions, and what a subscription applies, fire no other triggers. The function writes as its
# owner, so whoever may delete a row needs no further right.
MAKE_TRIGGERS = """CREATE INDEX IF NOT EXISTS {order_index} ON {tombstones} ({cursor}, {key});
GRANT SELECT ON {tombstones} TO {reader};
CREATE OR REPLACE FUNCTION {tombstones}() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = '' SET row_security = off AS {function};
REVOKE ALL ON FUNCTION {tombstones}() FROM PUBLIC;
CREATE OR REPLACE TRIGGER {delete} AFTER DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {tombstones}();
CREATE OR REPLACE TRIGGER {update} AFTER UPDATE ON {table} FOR EACH ROW WHEN ({moved}) EXECUTE FUNCTION {tombstones}();
CREATE OR REPLACE TRIGGER {truncate} BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {tombstones}();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {delete};
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {update};
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {truncate};
"""
_RECORD = """    INSERT INTO {tombstones} AS t ({key}, {cursor}) SELECT {key}, {stamp} FROM {table}
    ON CONFLICT ({places}) DO UPDATE SET {cursor} = greatest(t.{cursor}, excluded.{cursor});
  ELSE
    INSERT INTO {tombstones} AS t ({key}, {cursor}) VALUES ({old_key}, {stamp})
    ON CONFLICT ({places}) DO UPDATE SET {cursor} = greatest(t.{cursor}, excluded.{cursor});
"""
_INDEX = "{stale}CREATE UNIQUE INDEX IF NOT EXISTS {key_index} ON {tombstones} ({places});\n"
_REMOVE = """
SET LOCAL lock_timeout = {lock_timeout};
DROP TRIGGER IF EXISTS {delete} ON {table};
DROP TRIGGER IF EXISTS {update} ON {table};
DROP TRIGGER IF EXISTS {truncate} ON {table};
DROP FUNCTION IF EXISTS {tombstones}();
DROP TABLE IF EXISTS {tombstones};
"""


@dataclass(frozen=True, slots=True)
class Tombstones:
    """What the source's options and the catalogue make of them. ``schema`` is that of the table."""

    source: PostgresDefinition
    catalogue: Catalogue
    schema: str
    cursor_type: CursorType
    reader: str
    """The role that reads the source."""

    FUNCTION: ClassVar[str] = BEGIN + _RECORD + END
    INSTALL: ClassVar[str] = MAKE_TABLE + _INDEX + MAKE_TRIGGERS

    @classmethod
    def of(cls, source: PostgresDefinition, catalogue: Catalogue, cursor_type: CursorType, reader: str) -> Tombstones:
        """:raises ConfigurationError: this source cannot have them."""
        if catalogue.kind not in ("r", "p"):
            raise ConfigurationError(
                f"{source.label} is no table, and only a table has triggers: leave tombstones out."
            )
        if catalogue.children:
            raise ConfigurationError(
                f"{source.label}: no trigger of it fires for the rows of {catalogue.named_children}, which belong to it:"
                " leave tombstones out, and sweep the stream; or use a soft_delete_column."
            )
        require_stamps(source.label, source.cursor_field, source.key, cursor_type, of="transaction")
        for name in source.key:
            column = catalogue.column(name)
            if column is not None and not column.has_one_text and not column.fixed_text:
                raise ConfigurationError(
                    f"{source.label}: a tombstone is about a key's text, and of primary_key column {name!r}, a {column.declared},"
                    " equal values can have several, which Postgres cannot index. Leave tombstones out, and sweep the stream; or"
                    " use a soft_delete_column."
                )
        if catalogue.column(MARK) is not None:
            raise ConfigurationError(f"{source.label} has a column {MARK!r}, which tombstones need for themselves.")
        return cls(source, catalogue, catalogue.facts["relation"]["schema"], cursor_type, reader)

    # -- reading

    def body(self) -> sql.Composed:
        """The rows, and the tombstones of keys that have none, as one relation ``r`` that an index of each serves.

        The look-up is a scalar subquery, since any other form may become a scan of the whole table. A field of a NULL row is
        a NULL of its column's type, also where that is a domain without NULLs.
        """
        names = [c.name for c in self.catalogue.columns]
        kept = {*self.source.key, self.source.cursor_field}
        rows = (sql.Identifier("t", name) for name in names)
        stones = (
            sql.Identifier("d", name)
            if name in kept
            else sql.SQL("(NULL::{}).{}").format(self._table, sql.Identifier(name))
            for name in names
        )
        same = sql.SQL(" AND ").join(
            [
                sql.SQL("{} = {}").format(sql.Identifier("t", name), sql.Identifier("u", name))
                for name in self.source.key
            ]
            + [sql.SQL("{} = {}").format(_text("t", name), _text("u", name)) for name in self._loose]
        )
        return sql.SQL(
            "(SELECT * FROM (SELECT {rows}, false AS {mark} FROM {table} AS t"
            " UNION ALL SELECT {stones}, true FROM {tombstones} AS d) AS u"
            " WHERE NOT u.{mark} OR (SELECT true FROM {table} AS t WHERE {same}) IS NULL) AS r"
        ).format(
            rows=sql.SQL(", ").join(rows),
            mark=sql.Identifier(MARK),
            table=self._table,
            stones=sql.SQL(", ").join(stones),
            tombstones=self._tombstones,
            same=same,
        )

    # -- what must be there

    def require(self) -> None:
        """:raises ConfigurationError: deletions are not recorded, or not as this source reads them; tells what mends it."""
        if wrong := self._wrong():
            raise ConfigurationError(
                f"{self.source.label}: deletions are not recorded as tombstones=... needs it: {wrong}. Call"
                f" install_tombstones() of the source with a connection of the table's owner, or run this as the owner, and"
                f" sweep the stream afterwards, for what was deleted before:\nBEGIN;\n{self.installation()}\nCOMMIT;"
            )

    def _wrong(self) -> str | None:
        facts = self.catalogue.facts["tombstones"]
        name = self.source.tombstone_table
        columns = (*self.source.key, self.source.cursor_field)
        wanted = {c.name: c.declared for c in self.catalogue.columns if c.name in columns}
        if facts["columns"] is None:
            return f"there is no table {name}"
        if facts["columns"] != wanted:
            return f"{name} has the columns {facts['columns']}, not {wanted}; remove_tombstones() first"
        if not self._is_indexed(self.catalogue.tombstone_indexes):
            return f"{name} lacks an index"
        found = facts["triggers"] or ()
        for event in EVENTS:
            of_event = [t for t in found if t["name"] == self._trigger(event)]
            if not any(t["own"] and t["function"] == self._function() for t in of_event):
                return f"trigger {self._trigger(event)!r} is missing, or was made for other columns"
            if asleep := next((t for t in of_event if t["enabled"] != "A"), None):
                return f"trigger {self._trigger(event)!r} of {asleep['table']} is not enabled as ALWAYS"
        return None

    def _is_indexed(self, indexes: Catalogue) -> bool:
        is_unique = any(i["unique"] and self._is_key(i["columns"]) for i in indexes.indexes)
        return indexes.has_index_on((self.source.cursor_field, *self.source.key)) and is_unique

    def _is_key(self, columns: Sequence[str | None]) -> bool:
        """Whether an index is on the key; the text of a column has no name, if it is not the column itself."""
        wanted = [{name, None} if name in self._loose else {name} for name in self.source.key]
        return len(columns) == len(wanted) and all(c in names for c, names in zip(columns, wanted, strict=True))

    # -- statements

    def installation(self) -> str:
        """What installs them in one transaction, again and again if need be: what is recorded already stays."""
        key = self._names(self.source.key)
        name = self._split()[1]
        moved = sql.SQL(" OR ").join(
            sql.SQL("{} IS DISTINCT FROM {}").format(*(self._place(n, row) for row in ("OLD", "NEW")))
            for n in self.source.key
        )
        not_null = sql.SQL(", ").join(
            sql.SQL("ALTER COLUMN {} SET NOT NULL").format(sql.Identifier(n))
            for n in (*self.source.key, self.source.cursor_field)
        )
        return self._render(
            self.INSTALL,
            key=key,
            cursor=sql.Identifier(self.source.cursor_field),
            moved=moved,
            not_null=not_null,
            # Of a key's texts, not of its values, which would keep one tombstone for all texts of a value.
            key_index=sql.Identifier(f"{name}_texts" if self._loose else f"{name}_key"),
            places=self._places(),
            stale=sql.SQL("DROP INDEX IF EXISTS {};\n").format(sql.Identifier(self._split()[0], f"{name}_key"))
            if self._loose
            else sql.SQL(""),
            order_index=sql.Identifier(f"{name}_order"),
            reader=sql.Identifier(self.reader),
            function=sql.Literal(self._function()),
        )

    def removal(self) -> str:
        return self._render(_REMOVE)

    def purge(self, below: str, keep: Sequence[Key]) -> sql.Composed:
        """Deletes the tombstones below a cursor value, but for these keys."""
        return sql.SQL("DELETE {}").format(self.old(below, keep))

    def count(self, below: str, keep: Sequence[Key]) -> int:
        """How many :meth:`purge` deletes, asked with the source's own connection."""
        statement = sql.SQL("SELECT count(*) {}").format(self.old(below, keep))
        with connect(self.source.conn_id, owner=f"Source {self.source.label}", tag=TAG, read_only=True) as connection:
            row = connection.execute(statement).fetchone()
        assert row is not None
        return int(row[0])

    def old(self, below: str, keep: Sequence[Key]) -> sql.Composed:
        """FROM and WHERE of what :meth:`purge` deletes."""
        condition = sql.SQL("FROM {} WHERE {} < {}").format(
            self._tombstones, sql.Identifier(self.source.cursor_field), sql.Literal(below)
        )
        if keep:
            texts = (sql.SQL("{}::text").format(sql.Identifier(n)) for n in self.source.key)
            keys = (sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, key))) for key in keep)
            condition += sql.SQL(" AND ({}) NOT IN ({})").format(sql.SQL(", ").join(texts), sql.SQL(", ").join(keys))
        return condition

    def _function(self) -> str:
        source = self.source
        zone = sql.Literal(source.cursor_timezone or "UTC")
        stamp: sql.Composable = {
            CursorType.TIMESTAMP: sql.SQL("(now() AT TIME ZONE {})").format(zone),
            CursorType.DATE: sql.SQL("(now() AT TIME ZONE {})::date").format(zone),
        }.get(self.cursor_type, sql.Composed([sql.SQL("now()")]))
        body = sql.SQL(self.FUNCTION).format(
            table=self._table,
            tombstones=self._tombstones,
            key=self._names(source.key),
            places=self._places(),
            old_key=sql.SQL(", ").join(sql.SQL("OLD.{}").format(sql.Identifier(n)) for n in source.key),
            cursor=sql.Identifier(source.cursor_field),
            stamp=stamp,
        )
        return render(body)

    def _render(self, statements: str, **parts: sql.Composable) -> str:
        triggers = {event: sql.Identifier(self._trigger(event)) for event in EVENTS}
        composed = sql.SQL(statements.strip()).format(
            table=self._table,
            tombstones=self._tombstones,
            lock_timeout=sql.Literal(LOCK_TIMEOUT),
            **triggers,
            **parts,
        )
        return render(composed)

    def _trigger(self, event: str) -> str:
        return f"{self._split()[1]}_{event}"

    def _split(self) -> tuple[str, str]:
        schema, name = split_name(self.source.tombstone_table or "")
        return schema or self.schema, name

    @property
    def _loose(self) -> tuple[str, ...]:
        """The key's columns whose equal values can have several texts; each text has a tombstone of its own."""
        columns = ((name, self.catalogue.column(name)) for name in self.source.key)
        return tuple(name for name, column in columns if column is not None and not column.has_one_text)

    def _place(self, name: str, row: str | None = None) -> sql.Composable:
        """What a tombstone's key is told by: a column, or its text."""
        if name in self._loose:
            return _text(row, name)
        return sql.SQL(f"{row}." if row else "") + sql.Identifier(name)

    def _places(self) -> sql.Composed:
        return sql.SQL(", ").join(self._place(name) for name in self.source.key)

    @property
    def table(self) -> sql.Identifier:
        """That has them."""
        return self._tombstones

    @property
    def _tombstones(self) -> sql.Identifier:
        return sql.Identifier(*self._split())

    @property
    def _table(self) -> sql.Identifier:
        return sql.Identifier(self.schema, split_name(self.source.table or "")[1])

    @staticmethod
    def _names(names: Sequence[str]) -> sql.Composed:
        return sql.SQL(", ").join(map(sql.Identifier, names))


def _text(row: str | None, column: str) -> sql.Composed:
    return sql.SQL('(({}{})::text) COLLATE "C"').format(sql.SQL(f"{row}." if row else ""), sql.Identifier(column))


def execute(source: PostgresDefinition, statements: Iterable[str | sql.Composed], conn_id: str | None) -> int:
    """Run them in one transaction on a connection of the tables' owner; returns how many rows they changed."""
    used = conn_id or source.conn_id
    owner = f"Tombstones of {source.table} on connection {used!r}"
    with (
        connect(used, owner=owner, tag=TAG) as connection,
        explained(owner, grant="give conn_id a connection of the table's owner"),
        transaction(connection),
    ):
        changed = (connection.execute(s.encode() if isinstance(s, str) else s).rowcount for s in statements)
        return sum(count for count in changed if count > 0)
