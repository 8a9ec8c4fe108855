"""A table of MySQL or MariaDB as a relation: what any database's is, with cursor values and keys as these two have them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.sources.mysql.definition import MySqlDefinition
from airflow_reindex_provider.sources.sql.described import Described
from airflow_reindex_provider.sources.sql.inspecting import describe as inspected
from airflow_reindex_provider.sources.sql.relation import CursorColumn, Relation

LEAST = {
    CursorType.TIMESTAMPTZ: "1970-01-01 00:00:01",
    CursorType.TIMESTAMP: "0001-01-01",
    CursorType.DATE: "0001-01-01",
}


def describe(source: MySqlDefinition, connection: sa.Connection) -> Described:
    """:raises ConfigurationError: the table cannot be a stream's source; names the column."""
    found = inspected(source, connection)
    part = found.relation.rows
    cursor = cursor_of(source, part.cursor)
    relation, members = (Relation((replace(p.rows, cursor=cursor),)) for p in (found.relation, found.members))
    return replace(
        found, relation=relation, members=members, cursor_is_not_null=found.cursor_is_not_null and cursor.least is None
    )


def moment(kind: CursorType, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """The value of a cursor column as an integer, see ``CursorType.ordinal``; NULL where it is no time."""
    if kind is CursorType.INTEGER:
        return column
    if kind is CursorType.DATE:
        return sa.func.datediff(column, sa.literal_column("'1970-01-01'"))
    since: sa.ColumnElement[Any] = sa.literal_column("MICROSECOND, '1970-01-01'")
    return sa.func.timestampdiff(since, column)


def cursor_of(source: MySqlDefinition, cursor: CursorColumn) -> CursorColumn:
    """Read as a number: a driver gives a zero date, or a month 0, as NULL or as a text, as it likes."""
    if cursor.kind not in LEAST:
        return cursor
    # A text, since neither client can say a zero date; the server takes it for the column's type.
    cursor = replace(cursor, least=sa.literal_column(f"'{LEAST[cursor.kind]}'"))
    return replace(cursor, selected=moment(cursor.kind, cursor.column), ordinal=lambda v: _ordinal(source, v))


def _ordinal(source: MySqlDefinition, value: Any) -> int:
    if value is None:
        raise ConfigurationError(
            f"{source.label}: a row has a month or a day 0 in cursor_field {source.cursor_field!r}, which is no time. Give it"
            f" one: UPDATE {source.table} SET {source.cursor_field} = CURRENT_TIMESTAMP(6)"
            f" WHERE 0 IN (MONTH({source.cursor_field}), DAY({source.cursor_field}));"
        )
    return int(value)
