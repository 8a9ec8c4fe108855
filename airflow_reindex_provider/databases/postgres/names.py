"""Names of tables and columns, taken literally."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow_reindex_provider.core.errors import ConfigurationError

if TYPE_CHECKING:
    from psycopg import sql


def split_name(name: str) -> tuple[str | None, str]:
    """``schema.table`` or ``table``, taken literally: case counts, and no quotes are needed.

    :raises ConfigurationError: neither of the two.
    """
    parts = name.split(".")
    if len(parts) > 2 or not all(parts):
        raise ConfigurationError(f"{name!r} is not a table name: write schema.table, or table alone, without quotes.")
    return (parts[0], parts[1]) if len(parts) == 2 else (None, parts[0])


def identifier(name: str) -> sql.Identifier:
    from psycopg import sql

    schema, table = split_name(name)
    return sql.Identifier(schema, table) if schema else sql.Identifier(table)


def render(statement: sql.Composable) -> str:
    return statement.as_string(None)


def quoted(names: Iterable[str]) -> str:
    """A list of columns or the like, for a statement that a message shows."""
    from psycopg import sql

    return ", ".join(render(sql.Identifier(name)) for name in names)


def comma(parts: Iterable[sql.Composable]) -> sql.Composed:
    """A list for a statement."""
    from psycopg import sql

    return sql.SQL(", ").join(list(parts))
