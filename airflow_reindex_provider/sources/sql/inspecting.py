"""A table as SQLAlchemy's inspector finds it: columns, key and cursor, and whether an index serves."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Field, Schema
from airflow_reindex_provider.core.moments import EPOCH
from airflow_reindex_provider.sources.sql.clock import require_zone
from airflow_reindex_provider.sources.sql.definition import TableDefinition
from airflow_reindex_provider.sources.sql.described import Described
from airflow_reindex_provider.sources.sql.dialects import clock, clock_of, sqlite_moment, text_order
from airflow_reindex_provider.sources.sql.grouping import is_member
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
    group = _group(source, table, found, dialect)
    member = None if group is None or source.group is None else is_member(group, source.group)
    left = gone(source, table, {n: field_type(c["type"], dialect) or "" for n, c in found.items()})
    part = Part(
        body=table,
        cursor=_cursor(
            source, table, kind, dialect, zoned=bool(getattr(found[source.cursor_field]["type"], "timezone", False))
        ),
        key=tuple(_key(source, table, n, kinds[n], dialect) for n in source.key),
        columns={n: special[n][1] if n in special else _value(table, n, kinds[n], dialect) for n in chosen},
        gone=left if member is None else sa.case((member, left), else_=sa.literal_column("1")),
    )
    # Rights, and the author's filter, are looked at where no row is asked for too.
    connection.execute(part.select(part.gone, *(c.selected for c in part.columns.values()), where=[sa.false()]))
    keeps, indexes = _keys_and_indexes(source, inspector, found, name, schema)
    connection.rollback()
    wanted = [(source.cursor_field,), *([(source.group_by, source.cursor_field)] if source.group_by else [])]
    missing = [columns for columns in wanted if not any(index[: len(columns)] == columns for index in indexes)]
    needs_index = not (dialect.name == "sqlite" and kind is not CursorType.INTEGER)
    return Described(
        schema=Schema(
            fields=tuple(_field(n, kinds[n], source) for n in chosen),
            primary_key=source.key,
            cursor_type=kind,
            cursor_timezone=source.cursor_timezone,
            has_deletes=bool(source.soft_delete_column or source.row_filter or source.group_by),
        ),
        relation=Relation((part,)),
        members=Relation((replace(part, always=member),)),
        keeps_keys=keeps,
        cursor_is_not_null=not found[source.cursor_field]["nullable"] and dialect.name != "sqlite",
        clock=clock(dialect),
        clock_of=clock_of,
        group=group,
        warnings=tuple(_no_index(source, columns) for columns in missing) if needs_index else (),
    )


def _chosen(source: TableDefinition, found: Columns) -> tuple[str, ...]:
    wanted = source.columns or tuple(found)
    further = filter(None, [source.soft_delete_column, source.group_by])
    for name in (*source.key, source.cursor_field, *wanted, *further):
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
    if (made := _typed_key(column, kind, dialect)) is not None:
        return made
    if kind != "text":
        raise ConfigurationError(
            f"{source.label}: primary_key column {name!r} is a {column.type}. A key is made of whole numbers, texts, uuids or"
            " dates, whose equal values have one text everywhere: give the table such a key, or a view that has one."
        )
    return _text_key(column, dialect)


def _typed_key(column: sa.ColumnElement[Any], kind: str | None, dialect: sa.Dialect) -> KeyColumn | None:
    """Of a type whose equal values have one text; None of others."""
    if kind in _INTEGERS:
        return _one_text(column, lambda text: sa.literal(int(text), sa.BigInteger()))
    if kind == "uuid":
        return _one_text(column, lambda text: sa.literal(UUID(text), column.type))
    if kind == "date" and dialect.name != "sqlite":
        return _one_text(column, lambda text: sa.literal(date.fromisoformat(text), sa.Date()))
    return None


def _text_key(column: sa.ColumnElement[Any], dialect: sa.Dialect) -> KeyColumn:
    ordered = text_order(dialect, column)
    order, order_bind = ordered if ordered else (None, sa.literal)
    return KeyColumn(column, sa.literal, column, str, order, order_bind)


def _group(source: TableDefinition, table: sa.FromClause, found: Columns, dialect: sa.Dialect) -> KeyColumn | None:
    """:raises ConfigurationError: values of the column are not told apart by one text each."""
    if source.group_by is None:
        return None
    column, kind = table.c[source.group_by], field_type(found[source.group_by]["type"], dialect)
    made = _typed_key(column, kind, dialect)
    if made is None and kind == "text" and not isinstance(column.type, mysql.SET):
        made = _text_key(column, dialect)
    if made is None or made.order is None:
        raise ConfigurationError(
            f"{source.label}: group_by column {source.group_by!r} is a {column.type}. Rows are grouped by a whole number, a uuid,"
            " a date or, where this database can compare texts byte by byte, a text."
        )
    return made


def _one_text(column: sa.ColumnElement[Any], bind: Callable[[str], sa.ColumnElement[Any]]) -> KeyColumn:
    """Of a type whose equal values have one text, and whose order is that of the database."""
    return KeyColumn(column, bind, column, str, column, bind)


def _keys_and_indexes(
    source: TableDefinition, inspector: sa.Inspector, found: Columns, name: str, schema: str | None
) -> tuple[bool, list[tuple[str | None, ...]]]:
    """Whether the key is unique and never NULL by the database's own word, and the columns of each index."""
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
    keeps = not_null and any(columns and columns <= key for columns in unique)
    return keeps, [tuple(index["column_names"]) for index in indexes]


def _as_known() -> AbstractContextManager[None]:
    """A view has no keys and no indexes, which dialects say in different ways; and some cannot tell one of these kinds."""
    return suppress(sa.exc.NoSuchTableError, NotImplementedError)


def _no_index(source: TableDefinition, begin: tuple[str, ...]) -> str:
    columns, name = ", ".join((*begin, *source.key)), source.split_table()[-1]
    what, named = ("every page of rows", "changes") if len(begin) == 1 else ("a group's first load", "groups")
    return (
        f"{source.label} has no index that begins with {' and '.join(map(repr, begin))}: {what} reads the whole table. CREATE"
        f" INDEX {name}_{named} ON {source.table} ({columns});"
    )
