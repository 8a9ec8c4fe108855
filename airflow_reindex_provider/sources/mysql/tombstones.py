"""Deletions at the source: two triggers write the keys of deleted rows to a table beside it, which runs read like rows.

A tombstone is stamped with the time at which the statement came that deletes, as ``ON UPDATE CURRENT_TIMESTAMP`` stamps a row, so
the horizon says of both when they are safe to read. A key has one tombstone, the latest; while a row with its key exists it is
not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Key
from airflow_reindex_provider.sources.mysql.definition import MySqlDefinition
from airflow_reindex_provider.sources.mysql.description import cursor_of
from airflow_reindex_provider.sources.sql.asking import Asking
from airflow_reindex_provider.sources.sql.definition import require_stamps
from airflow_reindex_provider.sources.sql.relation import KeyColumn, Part, ValueColumn

EVENTS = ("delete", "update")
LOCK_TIMEOUT_S = 10
_COLUMNS = """
SELECT column_name, column_type, character_set_name, collation_name, coalesce(datetime_precision, 0)
FROM information_schema.columns WHERE table_schema = :schema AND table_name = :name
"""
_INDEXES = """
SELECT index_name, group_concat(column_name ORDER BY seq_in_index) FROM information_schema.statistics
WHERE table_schema = :schema AND table_name = :name GROUP BY index_name
"""
_TRIGGERS = """
SELECT trigger_name, action_statement FROM information_schema.triggers
WHERE event_object_schema = :schema AND event_object_table = :name
"""
_GRANTED = """
SELECT 1 FROM information_schema.user_privileges WHERE grantee = :user AND privilege_type = :privilege UNION ALL
SELECT 1 FROM information_schema.schema_privileges
WHERE grantee = :user AND privilege_type = :privilege AND :schema LIKE table_schema UNION ALL
SELECT 1 FROM information_schema.table_privileges
WHERE grantee = :user AND privilege_type = :privilege AND table_schema = :schema AND table_name = :name
"""
Columns = Mapping[str, tuple[str, str | None, str | None, int]]


@dataclass(frozen=True, slots=True)
class Tombstones:
    """What the source's options and the catalogue make of them.

    :ivar schema: of the table. :ivar columns: of the table, by name: type, character set, collation, digits of a second.
    :ivar user: that reads the source, as grants name it."""

    source: MySqlDefinition
    asking: Asking
    kind: CursorType
    schema: str
    columns: Columns
    user: str

    @classmethod
    def of(cls, source: MySqlDefinition, asking: Asking, kind: CursorType, user: str) -> Tombstones:
        """:raises ConfigurationError: this source cannot have them."""
        require_stamps(source.label, source.cursor_field, source.key, kind, of="statement")
        schema, name = schema_of(asking, source.table)
        return cls(source, asking, kind, schema, columns_of(asking, schema, name), user)

    def part(self, rows: Part, *, alias: str | None = "r") -> Part:
        """Tombstones of keys that have no row, to be read beside ``rows``, the table's own."""
        names = self.source.key
        types = {n: c.column.type for n, c in zip(names, rows.key, strict=True)}
        types[self.source.cursor_field] = rows.cursor.column.type
        stones = sa.table(self._name, *(sa.column(n, kind) for n, kind in types.items()), schema=self._schema)
        read: Any = stones.alias(alias) if alias else stones
        key = tuple(_moved(c, read.c[n]) for n, c in zip(names, rows.key, strict=True))
        *schemas, name = self.source.split_table()
        table = sa.table(name, *(sa.column(n, types[n]) for n in names), schema=schemas[0] if schemas else None).alias(
            "t"
        )
        # A scalar subquery, since any other form may become a scan of the whole table.
        there = sa.select(sa.literal_column("1")).where(*(table.c[n] == read.c[n] for n in names)).scalar_subquery()
        of_key = {n: ValueColumn(read.c[n], rows.columns[n].value) for n in names}
        return Part(
            body=read,
            cursor=cursor_of(self.source, replace(rows.cursor, column=read.c[self.source.cursor_field])),
            key=key,
            columns={n: of_key.get(n, ValueColumn(sa.null())) for n in rows.columns},
            gone=sa.literal_column("1"),
            always=there.is_(None),
        )

    # -- what must be there

    def require(self) -> None:
        """:raises ConfigurationError: deletions are not recorded, or not as this source reads them; tells what mends it."""
        if wrong := self._wrong():
            raise ConfigurationError(
                f"{self.source.label}: deletions are not recorded as tombstones=... needs it: {wrong}. Call"
                " install_tombstones() of the source with a connection of who may alter the table, or run this as such a user,"
                f" and sweep the stream afterwards, for what was deleted before:\n{self.ddl()}"
            )

    def doubts(self) -> Iterator[str]:
        if not self._sees_triggers():
            yield (
                f"{self.source.label}: whether the triggers that record deletions are still there is only told to whoever may"
                f" make some: GRANT TRIGGER ON {self._table} TO {self.user}; or let somebody else look now and then: SHOW"
                " TRIGGERS and airflow reindex tombstones ddl print what must be there."
            )

    def _wrong(self) -> str | None:
        found = columns_of(self.asking, self._schema, self._name)
        name, names = self.source.tombstone_table, (*self.source.key, self.source.cursor_field)
        if not found:
            return f"there is no table {name}, or {self.user} may not read it"
        wanted = {n: self.columns[n] for n in names}
        if not self._are_columns(found, wanted):
            are, should = (
                ", ".join(f"{n} {' '.join(filter(None, c[:3]))}" for n, c in of.items()) for of in (found, wanted)
            )
            return f"{name} has the columns {are}, not {should}; remove_tombstones() first"
        if not self._is_indexed(indexes_of(self.asking, self._schema, self._name)):
            return f"{name} lacks an index"
        if not self._sees_triggers():
            return None
        for event in EVENTS:
            if self._triggers().get(self._trigger(event)) != self._body(event):
                return f"trigger {self._trigger(event)!r} is missing, or was made for other columns"
        return None

    def _are_columns(self, found: Columns, wanted: Columns) -> bool:
        return found == wanted

    def _is_indexed(self, indexes: Mapping[str, Sequence[str]]) -> bool:
        is_ordered = any(columns[0] == self.source.cursor_field for columns in indexes.values())
        return indexes.get("PRIMARY") == list(self.source.key) and is_ordered

    def _sees_triggers(self) -> bool:
        return bool(self._triggers()) or self._may("TRIGGER", self.schema, self.source.split_table()[-1])

    def _triggers(self) -> Mapping[str, str]:
        asked = sa.text(_TRIGGERS).bindparams(schema=self.schema, name=self.source.split_table()[-1])
        return {str(name): str(body) for name, body in self.asking.all(asked)}

    def _may(self, privilege: str, schema: str, name: str) -> bool:
        said = {"user": self.user.replace("`", "'"), "privilege": privilege, "schema": schema, "name": name}
        return self.asking.first(sa.text(_GRANTED).bindparams(**said)) is not None

    # -- statements

    def ddl(self) -> str:
        return "\n".join(f"{statement};" for statement in self.installation())

    def installation(self) -> list[str]:
        """What installs them, again and again if need be: what is recorded already stays. No deletion gets by while triggers
        change, since nobody else writes to the table then."""
        columns = [f"{quoted(n)} {self._type(n)} NOT NULL" for n in self.source.key]
        cursor = self.source.cursor_field
        default = " DEFAULT CURRENT_TIMESTAMP" if self.kind is CursorType.TIMESTAMPTZ else ""
        columns.append(f"{quoted(cursor)} {self._type(cursor)} NOT NULL{default and f'{default}({self._digits})'}")
        triggers = [
            statement
            for event in EVENTS
            for statement in (
                f"DROP TRIGGER IF EXISTS {self._qualified(self._trigger(event))}",
                f"CREATE TRIGGER {self._qualified(self._trigger(event))} AFTER {event.upper()} ON {self._table} FOR EACH ROW"
                f" {self._body(event)}",
            )
        ]
        granted = self._may("SELECT", self._schema, self._name)
        return [
            f"SET SESSION lock_wait_timeout = {LOCK_TIMEOUT_S}",
            f"CREATE TABLE IF NOT EXISTS {self._tombstones} ({', '.join(columns)}, {self._indexes()}) ENGINE=InnoDB",
            f"LOCK TABLES {self._table} WRITE",
            *triggers,
            "UNLOCK TABLES",
            *([] if granted else [f"GRANT SELECT ON {self._tombstones} TO {self.user}"]),
        ]

    def removal(self) -> list[str]:
        drops = [f"DROP TRIGGER IF EXISTS {self._qualified(self._trigger(event))}" for event in EVENTS]
        locked = f"SET SESSION lock_wait_timeout = {LOCK_TIMEOUT_S}"
        return [locked, *drops, f"DROP TABLE IF EXISTS {self._tombstones}"]

    def old(self, rows: Part, below: str, keep: Sequence[Key]) -> tuple[sa.TableClause, list[sa.ColumnElement[bool]]]:
        """The table, and which of its rows lie below a cursor value, but for these keys."""
        part = self.part(rows, alias=None)
        where = [part.cursor.column < part.cursor.bind(below), *([sa.not_(part.of_keys(keep))] if keep else [])]
        assert isinstance(part.body, sa.TableClause)
        return part.body, where

    def _indexes(self) -> str:
        return f"PRIMARY KEY ({self._key}), KEY {quoted(f'{self._name}_order')} ({quoted(self.source.cursor_field)})"

    def _body(self, event: str) -> str:
        names = (*self.source.key, self.source.cursor_field)
        values = ", ".join([f"OLD.{quoted(n)}" for n in self.source.key] + [self._stamp])
        # A key that equals the new one stays: its tombstone would be hidden by the row.
        moved = " AND ".join(f"OLD.{quoted(n)} <=> NEW.{quoted(n)}" for n in self.source.key)
        source = f"SELECT {values} FROM DUAL WHERE NOT ({moved})" if event == "update" else f"VALUES ({values})"
        cursor = f"{quoted(self._name)}.{quoted(self.source.cursor_field)}"
        keys = ", ".join(f"{quoted(n)} = OLD.{quoted(n)}" for n in self.source.key)
        return (
            f"INSERT INTO {self._tombstones} ({', '.join(map(quoted, names))}) {source} ON DUPLICATE KEY UPDATE {keys},"
            f" {quoted(self.source.cursor_field)} = GREATEST({cursor}, {self._stamp})"
        )

    @property
    def _stamp(self) -> str:
        """Cut like the cursor field's own stamps: a value with more digits than its column has is rounded."""
        if self.kind is CursorType.TIMESTAMPTZ:
            return f"CURRENT_TIMESTAMP({self._digits})"
        zone = self.source.cursor_timezone
        moment = f"UTC_TIMESTAMP({self._digits})"
        if zone != "UTC":
            moment = f"CONVERT_TZ({moment}, '+00:00', '{zone}')"
        return f"DATE({moment})" if self.kind is CursorType.DATE else moment

    def require_zone(self) -> None:
        """:raises ConfigurationError: the server does not know the zone that tombstones are stamped in."""
        if "CONVERT_TZ" not in self._stamp:
            return
        ((moment,),) = self.asking.all(sa.text(f"SELECT {self._stamp}"))
        if moment is None:
            raise ConfigurationError(
                f"{self.source.label}: the server does not know the time zone {self.source.cursor_timezone!r}, which tombstones"
                " are stamped in. mysql_tzinfo_to_sql /usr/share/zoneinfo | mysql -u root mysql tells it all zones."
            )

    @property
    def _digits(self) -> int:
        return self.columns[self.source.cursor_field][3]

    def _type(self, name: str) -> str:
        kind, charset, collation, _ = self.columns[name]
        return f"{kind} CHARACTER SET {charset} COLLATE {collation}" if charset else kind

    def _trigger(self, event: str) -> str:
        return f"{self._name}_{event}"

    def _qualified(self, name: str) -> str:
        return f"{quoted(self.schema)}.{quoted(name)}"

    @property
    def _schema(self) -> str:
        *schemas, _ = (self.source.tombstone_table or "").split(".")
        return schemas[0] if schemas else self.schema

    @property
    def _name(self) -> str:
        return (self.source.tombstone_table or "").split(".")[-1]

    @property
    def _tombstones(self) -> str:
        return f"{quoted(self._schema)}.{quoted(self._name)}"

    @property
    def _table(self) -> str:
        return self._qualified(self.source.split_table()[-1])

    @property
    def _key(self) -> str:
        return ", ".join(map(quoted, self.source.key))


def columns_of(asking: Asking, schema: str, name: str) -> Columns:
    rows = asking.all(sa.text(_COLUMNS).bindparams(schema=schema, name=name))
    return {str(n): (str(kind), charset, collation, int(digits)) for n, kind, charset, collation, digits in rows}


def indexes_of(asking: Asking, schema: str, name: str) -> Mapping[str, Sequence[str]]:
    """The columns of each of a table's indexes, in their order."""
    said = sa.text(_INDEXES).bindparams(schema=schema, name=name)
    return {str(n): str(columns).split(",") for n, columns in asking.all(said)}


def schema_of(asking: Asking, table: str) -> tuple[str, str]:
    """Of a table as a definition names it, the schema and the name."""
    *schemas, name = table.split(".")
    ((schema,),) = asking.all(sa.text("SELECT database()"))
    return (schemas[0] if schemas else str(schema)), name


def _moved(key: KeyColumn, column: sa.ColumnElement[Any]) -> KeyColumn:
    """The same of another table."""
    return KeyColumn(column, key.bind, column, key.text, None, key.order_bind)


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
