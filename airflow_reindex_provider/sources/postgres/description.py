"""What a source's relation is: its columns, its key, and whether they can serve as a stream's. Everything that is wrong with them
is refused here, before a row is read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import psycopg
from psycopg import sql

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Field, Schema
from airflow_reindex_provider.databases.postgres.names import identifier, quoted, render
from airflow_reindex_provider.databases.postgres.types import is_binary_safe, portable_type
from airflow_reindex_provider.sources.postgres.asking import asking
from airflow_reindex_provider.sources.postgres.catalog import Catalogue, Column, read_catalogue
from airflow_reindex_provider.sources.postgres.definition import PostgresDefinition

_CURSOR_TYPES = {
    "timestamp with time zone": CursorType.TIMESTAMPTZ,
    "timestamp without time zone": CursorType.TIMESTAMP,
    "date": CursorType.DATE,
    "smallint": CursorType.INTEGER,
    "integer": CursorType.INTEGER,
    "bigint": CursorType.INTEGER,
    "xid8": CursorType.INTEGER,
}
_GROUP_TYPES = frozenset(
    {"text", "character varying", "character", "smallint", "integer", "bigint", "uuid", "boolean", "date"}
)
"""Types whose equal values have one text. Of a numeric or a citext, which of several texts shows depends on the rows."""
_QUERYABLE = "rpvmf"
"""pg_class.relkind of what can be read; r and p alone can promise that a key is unique."""


@dataclass(frozen=True, slots=True)
class Description:
    """A definition, and what the catalogue makes of it.

    :ivar own_types: of each column, what a text of its value is cast to for comparing it with the column.
    """

    definition: PostgresDefinition
    catalogue: Catalogue
    schema: Schema
    own_types: dict[str, str]

    @property
    def keeps_keys_unique(self) -> bool:
        return self.catalogue.kind in ("r", "p")

    def is_indexed(self, *, fresh: bool = False) -> bool:
        """Whether an index has the rows in order of change: all of them, or those of a group beside each other."""
        definition = self.definition
        group = (definition.group_by,) if fresh and definition.group_by else ()
        return self.catalogue.has_index_on((*group, definition.cursor_field, *definition.key))

    @property
    def cursor_is_not_null(self) -> bool:
        column = self.catalogue.column(self.definition.cursor_field)
        return column is not None and column.not_null

    @property
    def table(self) -> str:
        return render(identifier(self.definition.table or ""))


def describe(source: PostgresDefinition, connection: psycopg.Connection[Any]) -> Description:
    """:raises ConfigurationError: there is no such relation, or its columns, key or cursor cannot be a stream's."""
    catalogue = _read_catalogue(source, connection)
    columns = catalogue.columns
    if source.table is None:
        columns = _query_columns(source, connection)
    elif catalogue.kind is None:
        raise ConfigurationError(
            f"{source.label}: there is no such table or view in this database. Names are taken literally:"
            f" check the schema, the spelling and the case."
        )
    elif catalogue.kind not in _QUERYABLE:
        raise ConfigurationError(f"{source.label} is neither a table nor a view.")
    description = Description(
        source, catalogue, _make_schema(source, columns), {c.name: _comparable_type(c) for c in columns}
    )
    _check_key(description, columns)
    return description


def _read_catalogue(source: PostgresDefinition, connection: psycopg.Connection[Any]) -> Catalogue:
    lag = source.lag if isinstance(source.lag, timedelta) else None
    try:
        ZoneInfo(source.cursor_timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigurationError(
            f"{source.label}: cursor_timezone {source.cursor_timezone!r} is no time zone."
        ) from error
    with asking(source, connection):
        return read_catalogue(
            connection,
            relation=None if source.table is None else render(identifier(source.table)),
            tombstones=None if source.tombstone_table is None else render(identifier(source.tombstone_table)),
            lag=lag,
            margin=source.margin,
            zone=source.cursor_timezone or "UTC",
        )


def _query_columns(source: PostgresDefinition, connection: psycopg.Connection[Any]) -> tuple[Column, ...]:
    """A query has no catalogue entry, but its result has a description."""
    statement = sql.SQL("SELECT * FROM ({}\n) AS q LIMIT 0").format(sql.SQL(source.query or ""))
    with asking(source, connection):
        described = connection.execute(statement).description or []
        oids = [c.type_code for c in described]
        rows = connection.execute(
            "SELECT t.oid::bigint, t.typtype, n.nspname = 'pg_catalog', format_type(t.oid, NULL),"
            " format_type(nullif(t.typbasetype, 0), NULL)"
            " FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = ANY(%s)",
            [oids],
        ).fetchall()
    types = {row[0]: row[1:] for row in rows}
    return tuple(
        Column(c.name, False, kind, builtin, name, name, base)
        for c in described
        for kind, builtin, name, base in [types[c.type_code]]
    )


def _make_schema(source: PostgresDefinition, columns: tuple[Column, ...]) -> Schema:
    by_name = {c.name: c for c in columns}
    wanted = source.columns if source.columns is not None else tuple(by_name)
    named = {"primary_key": source.key, "cursor_field": (source.cursor_field,), "columns": wanted}
    if source.soft_delete_column:
        named["soft_delete_column"] = (source.soft_delete_column,)
    if source.group_by:
        named["group_by"] = (source.group_by,)
    for option, names in named.items():
        for name in names:
            if name not in by_name:
                raise ConfigurationError(
                    f"{source.label}: {option} names {name!r}, which is not a column of it."
                    f" It has: {', '.join(by_name)}."
                )
    kind = _CURSOR_TYPES.get(by_name[source.cursor_field].type)
    if kind is None:
        raise ConfigurationError(
            f"{source.label}: cursor_field {source.cursor_field!r} is a {by_name[source.cursor_field].declared};"
            " it must be a timestamptz, timestamp, date or integer."
        )
    group = by_name.get(source.group_by or "")
    if group is not None and group.kind != "e" and (group.base or group.type) not in _GROUP_TYPES:
        raise ConfigurationError(
            f"{source.label}: group_by column {group.name!r} is a {group.declared}; it must be a text, integer, uuid,"
            " boolean, date or enum, whose values have one text each."
        )
    if kind is CursorType.TIMESTAMP and source.cursor_timezone is None:
        raise ConfigurationError(
            f"{source.label}: cursor_field {source.cursor_field!r} has no time zone. State the TimeZone of the sessions"
            " that write it, as cursor_timezone='UTC' for example, or make the column a timestamptz."
        )
    if source.lag is not None and isinstance(source.lag, timedelta) == (kind is CursorType.INTEGER):
        raise ConfigurationError(
            f"{source.label}: lag is a timedelta for a cursor made of time and a number for an integer; the cursor_field"
            f" {source.cursor_field!r} is a {kind}."
        )
    names = (*source.key, *(n for n in wanted if n not in source.key))
    return Schema(
        fields=tuple(_field(by_name[n]) for n in names),
        primary_key=source.key,
        cursor_type=kind,
        cursor_timezone=source.cursor_timezone,
        has_deletes=bool(source.soft_delete_column or source.row_filter or source.group_by or source.tombstones),
    )


def _check_key(description: Description, columns: tuple[Column, ...]) -> None:
    if not description.keeps_keys_unique:
        return
    source = description.definition
    key = ", ".join(source.key)
    if not description.catalogue.is_unique(source.key):
        raise ConfigurationError(
            f"{source.label}: nothing makes ({key}) unique, so two rows could be one document. Name the table's key, or"
            f" CREATE UNIQUE INDEX CONCURRENTLY ON {description.table} ({quoted(source.key)});"
        )
    nullable = [c.name for c in columns if c.name in source.key and not c.not_null]
    if nullable:
        raise ConfigurationError(
            f"{source.label}: primary_key column {nullable[0]!r} can be NULL:"
            f" ALTER TABLE {description.table} ALTER COLUMN {quoted(nullable[:1])} SET NOT NULL;"
        )


def _field(column: Column) -> Field:
    if column.kind == "d" and column.base:
        name = portable_type(column.base)
        return Field(column.name, name if is_binary_safe(name) else "text", name if is_binary_safe(name) else "text")
    name = portable_type(column.type)
    if column.builtin and is_binary_safe(name):
        return Field(column.name, name, name, not column.not_null)
    # An extension's own type (vector, citext, geometry) may be there at the target too; enums and composites are not.
    own = column.kind == "b" and not column.builtin and not column.type.endswith("[]")
    return Field(column.name, column.declared if own else "text", "text", not column.not_null)


def _comparable_type(column: Column) -> str:
    """What a text of the column's value is cast to for comparing it with the column."""
    # Without its length, `character` would mean one character and cut the value off.
    return "bpchar" if column.type == "character" else column.type
