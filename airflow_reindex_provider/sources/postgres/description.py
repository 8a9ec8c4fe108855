"""What a source's relation is: its columns, its key, and whether they can serve as a stream's. Everything that is wrong with them
is refused here, before a row is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import psycopg
from psycopg import sql

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Field, Schema
from airflow_reindex_provider.core.templates import refuse_templates
from airflow_reindex_provider.databases.postgres.names import identifier, quoted, render
from airflow_reindex_provider.databases.postgres.types import is_binary_safe, portable_type
from airflow_reindex_provider.sources.postgres.asking import asking
from airflow_reindex_provider.sources.postgres.catalog import Catalogue, Column, read_catalogues
from airflow_reindex_provider.sources.postgres.definition import PostgresDefinition
from airflow_reindex_provider.sources.postgres.standing import RELATION_KINDS
from airflow_reindex_provider.sources.postgres.survey import BASE_TYPE

_CURSOR_TYPES = {
    "timestamp with time zone": CursorType.TIMESTAMPTZ,
    "timestamp without time zone": CursorType.TIMESTAMP,
    "date": CursorType.DATE,
    "smallint": CursorType.INTEGER,
    "integer": CursorType.INTEGER,
    "bigint": CursorType.INTEGER,
    "xid8": CursorType.INTEGER,
}
_NO_QUERY = (
    psycopg.errors.SyntaxError,
    psycopg.errors.UndefinedParameter,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.FeatureNotSupported,
)
"""What Postgres says of texts that are not a query by themselves, or more than one: it writes, or locks rows."""
_TEXTS = ("text", "character varying", "character")
_GROUP_TYPES = frozenset({*_TEXTS, "smallint", "integer", "bigint", "uuid", "boolean", "date"})
"""Types whose equal values have one text. Of a numeric or a citext, which of several texts shows depends on the rows."""


@dataclass(frozen=True, slots=True)
class Description:
    """A definition, and what the catalogue makes of it.

    :ivar columns: of the relation, or of the query's result.
    """

    definition: PostgresDefinition
    catalogue: Catalogue
    columns: tuple[Column, ...]
    schema: Schema

    @property
    def own_types(self) -> dict[str, str]:
        """Of each column, what a text of its value is cast to for comparing it with the column."""
        return {c.name: _comparable_type(c) for c in self.columns}

    def is_indexed(self, *, fresh: bool = False) -> bool:
        """Whether an index has the rows in order of change: all of them, or those of a group beside each other."""
        return self.catalogue.has_index_on(self.order(fresh=fresh))

    def order(self, *, fresh: bool = False) -> tuple[str, ...]:
        """The columns of the index that has them so."""
        definition = self.definition
        group = (definition.group_by,) if fresh and definition.group_by else ()
        # A column that stands there already has one value by then: the key may be the cursor field too.
        return tuple(dict.fromkeys((*group, definition.cursor_field, *definition.key)))

    @property
    def cursor_is_not_null(self) -> bool:
        column = self.catalogue.column(self.definition.cursor_field)
        return column is not None and column.not_null

    @property
    def table(self) -> str:
        return render(identifier(self.definition.table or ""))

    def index_ddl(self, columns: tuple[str, ...]) -> str:
        """What makes an index on the columns wherever it is missing."""
        catalogue = self.catalogue
        # Postgres makes one of a partitioned table in one go, or partition by partition.
        how = "INDEX" if catalogue.kind == "p" else "INDEX CONCURRENTLY"
        missing = [] if catalogue.kind == "f" or catalogue.alone.has_index_on(columns) else [self.table]
        missing += [render(sql.Identifier(*child)) for child in catalogue.children_without_index(columns)]
        return " ".join(f"CREATE {how} ON {table} ({quoted(columns)});" for table in missing)


def describe(
    source: PostgresDefinition, connection: psycopg.Connection[Any], catalogue: Catalogue, *, unique: bool = True
) -> Description:
    """:param unique: a key must stand for one row.

    :raises ConfigurationError: there is no such relation, or its columns, key or cursor cannot be a stream's."""
    refuse_templates(source.label, query=source.query, row_filter=source.row_filter)
    columns = catalogue.columns
    if source.table is None:
        columns = _query_columns(source, connection)
    elif catalogue.kind is None:
        raise ConfigurationError(
            f"{source.label}: there is no such table or view in this database. Names are taken literally:"
            f" check the schema, the spelling and the case."
        )
    elif catalogue.kind not in RELATION_KINDS or not RELATION_KINDS[catalogue.kind].readable:
        raise ConfigurationError(f"{source.label} is neither a table nor a view (relkind {catalogue.kind!r}).")
    description = Description(source, catalogue, columns, _make_schema(source, columns))
    _require_order(description, connection)
    if unique:
        _check_key(description)
    return description


def catalogues(sources: Sequence[PostgresDefinition], connection: psycopg.Connection[Any]) -> list[Catalogue]:
    """Of each, in one look. What the first one says of time holds for all."""
    first = sources[0]
    lag = first.lag if isinstance(first.lag, timedelta) else None
    try:
        ZoneInfo(first.cursor_timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigurationError(
            f"{first.label}: cursor_timezone {first.cursor_timezone!r} is no time zone."
        ) from error
    with asking(first, connection):
        return read_catalogues(
            connection,
            [(_quoted(source.table), source.cursor_field, _quoted(source.tombstone_table)) for source in sources],
            lag=lag,
            margin=first.margin,
            zone=first.cursor_timezone or "UTC",
        )


def _quoted(name: str | None) -> str | None:
    return None if name is None else render(identifier(name))


def _query_columns(source: PostgresDefinition, connection: psycopg.Connection[Any]) -> tuple[Column, ...]:
    """A query has no catalogue entry, but its result has a description."""
    statement = sql.SQL("SELECT * FROM ({}\n) AS q LIMIT 0").format(sql.SQL(source.query or ""))
    with asking(source, connection):
        try:
            described = connection.execute(statement).description or []
        except _NO_QUERY as error:
            raise ConfigurationError(
                f"{source.label}: {str(error).splitlines()[0]}. Give query=... one SELECT that reads and locks nothing, with"
                " nothing after it but a comment: no semicolon, no parameters. The bounds of a window are added to it."
            ) from error
        oids = [c.type_code for c in described]
        rows = connection.execute(
            "SELECT t.oid::bigint, t.typtype, n.nspname = 'pg_catalog', format_type(t.oid, NULL), b.type, b.kind"
            " FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace"
            f" LEFT JOIN LATERAL {BASE_TYPE.format(of='t')} AS b ON true WHERE t.oid = ANY(%s)",
            [oids],
        ).fetchall()
        group = source.group_by if [c.name for c in described].count(source.group_by or "") == 1 else None
        types = {row[0]: row[1:] for row in rows}
        loose = any(
            _ignores_case_or_the_like(source, connection, c.name)
            for c in described
            # Nothing but a text has a collation to be asked for.
            if c.name == group and (types[c.type_code][3] or types[c.type_code][2]) in _TEXTS
        )
    return tuple(
        Column(c.name, False, kind, builtin, name, name, base, base_kind, deterministic=not (loose and c.name == group))
        for c in described
        for kind, builtin, name, base, base_kind in [types[c.type_code]]
    )


def _ignores_case_or_the_like(source: PostgresDefinition, connection: psycopg.Connection[Any], name: str) -> bool:
    """Whether the collation of a query's column takes different texts for equal. No row is read for that."""
    statement = sql.SQL(
        "SELECT NOT c.collisdeterministic FROM (SELECT pg_collation_for({}) AS name FROM (VALUES (1)) AS one"
        " LEFT JOIN ({}\n) AS q ON false) AS s JOIN pg_collation c ON c.oid = s.name::regcollation"
    ).format(sql.Identifier("q", name), sql.SQL(source.query or ""))
    return connection.execute(statement).fetchone() == (True,)


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
            if not (column := by_name[name]).is_known:
                raise ConfigurationError(
                    f"{source.label}: {option} names {name!r}, a column of a kind that is on no list (typtype"
                    f" {column.own_kind!r}, attgenerated {column.generated!r}). Leave it out."
                )
            if option in ("primary_key", "group_by") and column.kind == "d" and column.own_kind == "e":
                raise ConfigurationError(
                    f"{source.label}: {option} names {name!r}, a {column.declared}: Postgres has no operator that compares values"
                    f" of a domain over an enum. Make the column a {column.own_type}, or read a query or view that casts it."
                )
            if option == "primary_key" and column.own_type == "character[]":
                raise ConfigurationError(
                    f"{source.label}: primary_key names {name!r}, a {column.declared}, whose values have two texts: with the"
                    " blanks that fill up each element, and without. Make the column a varchar[] or text[], or read a query that"
                    " casts it."
                )
            if sum(c.name == name for c in columns) > 1:
                raise ConfigurationError(
                    f"{source.label} has more than one column {name!r}, which {option} names: give each a name of its own, with"
                    " AS, or name the columns that the index is to have, with columns=..."
                )
    kind = _CURSOR_TYPES.get(by_name[source.cursor_field].own_type)
    if kind is None:
        raise ConfigurationError(
            f"{source.label}: cursor_field {source.cursor_field!r} is a {by_name[source.cursor_field].declared};"
            " it must be a timestamptz, timestamp, date or integer, or a domain over one of these."
        )
    group = by_name.get(source.group_by or "")
    if group is not None and group.kind != "e" and group.own_type not in _GROUP_TYPES:
        raise ConfigurationError(
            f"{source.label}: group_by column {group.name!r} is a {group.declared}; it must be a text, integer, uuid,"
            " boolean, date or enum, whose values have one text each."
        )
    if group is not None and not group.deterministic:
        raise ConfigurationError(
            f"{source.label}: group_by column {group.name!r} has a collation that takes different texts for one value, so which"
            " of them names a group depends on the rows. Group by a column with one text for each value: of a query or view, for"
            f' example, with lower({quoted([group.name])}) COLLATE "C".'
        )
    if kind in (CursorType.TIMESTAMP, CursorType.DATE) and source.cursor_timezone is None:
        raise ConfigurationError(
            f"{source.label}: cursor_field {source.cursor_field!r} is a {by_name[source.cursor_field].declared}, which has no"
            " time zone. State the TimeZone of the sessions that write it, as cursor_timezone='UTC' for example, or make the"
            " column a timestamptz."
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


def _require_order(description: Description, connection: psycopg.Connection[Any]) -> None:
    """:raises ConfigurationError: nothing tells which of two keys comes first. What Postgres itself makes keys of has that."""
    source = description.definition
    for column in description.columns:
        if column.name not in source.key or (column.builtin and column.own_kind == "b" and source.table is not None):
            continue
        kind = sql.SQL(_comparable_type(column))
        try:
            connection.execute(sql.SQL("SELECT NULL::{0} < NULL::{0}").format(kind))
        except (psycopg.errors.UndefinedFunction, psycopg.errors.AmbiguousFunction) as error:
            raise ConfigurationError(
                f"{source.label}: primary_key names {column.name!r}, a {column.declared}, whose values have no order: Postgres"
                " has no operator < for them. Name another key, or read a query that casts it,"
                f" {quoted([column.name])}::text for example."
            ) from error


def _check_key(description: Description) -> None:
    if not description.catalogue.keeps_keys:
        return
    source = description.definition
    key = ", ".join(source.key)
    if not description.catalogue.is_unique(source.key):
        raise ConfigurationError(
            f"{source.label}: nothing makes ({key}) unique, so two rows could be one document. Name the table's key, or"
            f" CREATE UNIQUE INDEX CONCURRENTLY ON {description.table} ({quoted(source.key)});"
        )
    nullable = [c.name for c in description.columns if c.name in source.key and not c.not_null]
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
    # Without its length, `character` would mean one character and cut the value off; and a domain may refuse a value that
    # no row has, which a bound may be.
    return "bpchar" if column.own_type == "character" else column.own_type
