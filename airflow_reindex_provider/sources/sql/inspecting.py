"""A table as SQLAlchemy's inspector finds it: columns, key and cursor, and whether an index serves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Field, Schema
from airflow_reindex_provider.core.moments import EPOCH
from airflow_reindex_provider.sources.sql.clock import require_zone
from airflow_reindex_provider.sources.sql.definition import TableDefinition
from airflow_reindex_provider.sources.sql.described import Described
from airflow_reindex_provider.sources.sql.dialects import clock, clock_of, sqlite_moment, text_order
from airflow_reindex_provider.sources.sql.membership import gone
from airflow_reindex_provider.sources.sql.mysql_values import is_mysql, json_columns, odd
from airflow_reindex_provider.sources.sql.relation import CursorColumn, KeyColumn, Part, Relation, ValueColumn
from airflow_reindex_provider.sources.sql.types import field_type, value_of

_US = timedelta(microseconds=1)
_INTEGERS = ("smallint", "integer", "bigint")
_CURSORS = {
    **dict.fromkeys(_INTEGERS, CursorType.INTEGER),
    "timestamp with time zone": CursorType.TIMESTAMPTZ,
    "timestamp without time zone": CursorType.TIMESTAMP,
    "date": CursorType.DATE,
}
Columns = dict[str, dict[str, Any]]


def describe(source: TableDefinition, connection: sa.Connection) -> Described:
    """:raises ConfigurationError: the table cannot be a stream's source; names the column."""
    inspector = sa.inspect(connection)
    *schemas, name = source.split_table()
    schema = schemas[0] if schemas else None
    found: Columns = {c["name"]: dict(c) for c in inspector.get_columns(name, schema=schema)}
    chosen = _chosen(source, found)
    dialect = connection.dialect
    table = sa.table(name, *(sa.column(n, c["type"]) for n, c in found.items()), schema=schema).alias("r")
    kinds = {n: field_type(found[n]["type"], dialect) for n in (*chosen, source.cursor_field)}
    special = _special(connection, table, name, schema, chosen)
    kinds |= {n: kind for n, (kind, _) in special.items()}
    # An unsigned one may be too large for it: no counter comes there, and a target parks what does.
    kinds |= {n: "bigint" for n in source.key if kinds[n] == "numeric" and isinstance(found[n]["type"], sa.Integer)}
    kind = _CURSORS.get(kinds[source.cursor_field] or "")
    if kind is None:
        raise ConfigurationError(
            f"{source.label}: cursor_field {source.cursor_field!r} is a {found[source.cursor_field]['type']}, which is no"
            " time, date or whole number."
        )
    part = Part(
        body=table,
        cursor=_cursor(
            source, table, kind, dialect, zoned=bool(getattr(found[source.cursor_field]["type"], "timezone", False))
        ),
        key=tuple(_key(source, table, n, kinds[n], dialect) for n in source.key),
        columns={n: special[n][1] if n in special else _value(table, n, kinds[n], dialect) for n in chosen},
        gone=gone(source, table, {n: field_type(c["type"], dialect) or "" for n, c in found.items()}),
    )
    # Rights, and the author's filter, are looked at where no row is asked for too.
    connection.execute(part.select(part.gone, *(c.selected for c in part.columns.values()), where=[sa.false()]))
    keeps, index = _keys_and_index(source, inspector, found, name, schema)
    connection.rollback()
    needs_index = not index and not (dialect.name == "sqlite" and kind is not CursorType.INTEGER)
    return Described(
        schema=Schema(
            fields=tuple(_field(n, kinds[n], source) for n in chosen),
            primary_key=source.key,
            cursor_type=kind,
            cursor_timezone=source.cursor_timezone,
            has_deletes=bool(source.soft_delete_column or source.row_filter),
        ),
        relation=Relation((part,)),
        keeps_keys=keeps,
        cursor_is_not_null=not found[source.cursor_field]["nullable"] and dialect.name != "sqlite",
        clock=clock(dialect),
        clock_of=clock_of,
        warnings=tuple(_no_index(source)) if needs_index else (),
    )


def _chosen(source: TableDefinition, found: Columns) -> tuple[str, ...]:
    wanted = source.columns or tuple(found)
    for name in (*source.key, source.cursor_field, *wanted, *filter(None, [source.soft_delete_column])):
        if name not in found:
            raise ConfigurationError(f"{source.label} has no column {name!r}; it has {', '.join(found)}.")
    return tuple(dict.fromkeys((*source.key, *wanted)))


def _special(
    connection: sa.Connection, table: sa.FromClause, name: str, schema: str | None, chosen: tuple[str, ...]
) -> dict[str, tuple[str, ValueColumn]]:
    """Columns that one database alone has, with their types."""
    if not is_mysql(connection.dialect):
        return {}
    documents = json_columns(connection, name, schema)
    told = {n: odd(table.c[n], is_json=n in documents) for n in chosen}
    return {n: (kind, ValueColumn(read, value)) for n, t in told.items() if t is not None for kind, read, value in [t]}


def _field(name: str, kind: str | None, source: TableDefinition) -> Field:
    return Field(name, kind or "text", kind or "text", nullable=name not in source.key)


def _value(table: sa.FromClause, name: str, kind: str | None, dialect: sa.Dialect) -> ValueColumn:
    column = table.c[name]
    if kind is None or (kind == "interval" and dialect.name == "postgresql"):
        # A timedelta has no months, nor days that are not of 24 hours.
        return ValueColumn(sa.cast(column, sa.Text()))
    # SQLite's values are judged one by one, by us, so that one that is none takes no page with it.
    raw = sa.type_coerce(column, sa.types.NullType()) if dialect.name == "sqlite" else column
    return ValueColumn(raw, value_of(kind, dialect))


def _cursor(
    source: TableDefinition, table: sa.FromClause, kind: CursorType, dialect: sa.Dialect, *, zoned: bool
) -> CursorColumn:
    column: sa.ColumnElement[Any] = table.c[source.cursor_field]
    if kind in (CursorType.TIMESTAMP, CursorType.DATE) and not require_zone(source.cursor_timezone or ""):
        raise ConfigurationError(
            f"{source.label}: cursor_field {source.cursor_field!r} has no time zone. State the one of who writes it:"
            " cursor_timezone='UTC', say."
        )
    if kind is CursorType.INTEGER:
        return CursorColumn(column, kind, lambda text: sa.literal(int(text), sa.BigInteger()), int)
    if dialect.name == "sqlite":
        is_day = kind is CursorType.DATE
        form = "%Y-%m-%d" if is_day else "%Y-%m-%d %H:%M:%S.%f"
        moment = sqlite_moment(dialect, source.cursor_field, day=is_day)
        return CursorColumn(
            moment, kind, lambda text: sa.literal(_moment(kind, text).strftime(form), sa.Text()), kind.ordinal
        )
    if kind is CursorType.DATE:
        return CursorColumn(
            column,
            kind,
            lambda text: sa.literal(_moment(kind, text).date(), sa.Date()),
            lambda value: _ordinal_day(value),
        )

    def bind(text: str) -> sa.ColumnElement[Any]:
        moment = _moment(kind, text)
        # MySQL's TIMESTAMP is a moment, which its driver gives without a zone: the session's, UTC.
        return sa.literal(moment if zoned else moment.replace(tzinfo=None), column.type)

    return CursorColumn(column, kind, bind, _ordinal)


def _moment(kind: CursorType, text: str) -> datetime:
    """A cursor of local times counts them as if they were in UTC."""
    try:
        days = kind is CursorType.DATE
        return EPOCH + kind.ordinal(text) * (timedelta(days=1) if days else _US)
    except OverflowError as error:
        raise ConfigurationError(f"The cursor value {text} lies outside of the years 1 to 9999.") from error


def _ordinal(value: datetime) -> int:
    return ((value if value.tzinfo else value.replace(tzinfo=UTC)) - EPOCH) // _US


def _ordinal_day(value: date) -> int:
    return value.toordinal() - EPOCH.toordinal()


def _key(source: TableDefinition, table: sa.FromClause, name: str, kind: str | None, dialect: sa.Dialect) -> KeyColumn:
    column = table.c[name]
    if kind in _INTEGERS:
        return _one_text(column, lambda text: sa.literal(int(text), sa.BigInteger()))
    if kind == "uuid":
        return _one_text(column, lambda text: sa.literal(UUID(text), column.type))
    if kind == "date" and dialect.name != "sqlite":
        return _one_text(column, lambda text: sa.literal(date.fromisoformat(text), sa.Date()))
    if kind != "text":
        raise ConfigurationError(
            f"{source.label}: primary_key column {name!r} is a {column.type}. A key is made of whole numbers, texts, uuids or"
            " dates, whose equal values have one text everywhere: give the table such a key, or a view that has one."
        )
    ordered = text_order(dialect, column)
    order, order_bind = ordered if ordered else (None, sa.literal)
    return KeyColumn(column, sa.literal, column, str, order, order_bind)


def _one_text(column: sa.ColumnElement[Any], bind: Callable[[str], sa.ColumnElement[Any]]) -> KeyColumn:
    """Of a type whose equal values have one text, and whose order is that of the database."""
    return KeyColumn(column, bind, column, str, column, bind)


def _keys_and_index(
    source: TableDefinition, inspector: sa.Inspector, found: Columns, name: str, schema: str | None
) -> tuple[bool, bool]:
    """Whether the key is unique and never NULL by the database's own word, and whether an index leads through changes."""
    primary: set[str] = set()
    unique: list[set[str | None]] = []
    indexes: list[Any] = []
    with _as_known():
        primary.update(inspector.get_pk_constraint(name, schema=schema)["constrained_columns"])
    with _as_known():
        unique += [set(c["column_names"]) for c in inspector.get_unique_constraints(name, schema=schema)]
    with _as_known():
        indexes += inspector.get_indexes(name, schema=schema)
    key = set(source.key)
    unique += [set(primary), *(set(index["column_names"]) for index in indexes if index["unique"])]
    not_null = all(not found[n]["nullable"] or n in primary for n in key)
    leads = any(index["column_names"][:1] == [source.cursor_field] for index in indexes)
    return not_null and any(columns and columns <= key for columns in unique), leads


def _as_known() -> AbstractContextManager[None]:
    """A view has no keys and no indexes, which dialects say in different ways; and some cannot tell one of these kinds."""
    return suppress(sa.exc.NoSuchTableError, NotImplementedError)


def _no_index(source: TableDefinition) -> Iterator[str]:
    columns = ", ".join((source.cursor_field, *source.key))
    yield (
        f"{source.label} has no index that begins with {source.cursor_field!r}: every page of rows reads the whole table. CREATE"
        f" INDEX {source.split_table()[-1]}_changes ON {source.table} ({columns});"
    )
