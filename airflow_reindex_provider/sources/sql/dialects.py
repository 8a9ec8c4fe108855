"""What is known of single databases beyond what SQLAlchemy writes for them; every other one goes without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.dialects import mysql

_MYSQL = ("SET time_zone = '+00:00'",)
SESSION_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "postgresql": ("SET TIME ZONE 'UTC'",),
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "oracle": ("ALTER SESSION SET TIME_ZONE = 'UTC'",),
}
"""Times with a zone are read in UTC."""

_CLOCKS = {
    "postgresql": "now()",
    "mysql": "UTC_TIMESTAMP(6)",
    "mariadb": "UTC_TIMESTAMP(6)",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now')",
    "mssql": "SYSUTCDATETIME()",
    "oracle": "SYS_EXTRACT_UTC(SYSTIMESTAMP)",
}
"""The time now, with a zone or in UTC."""

_FORM = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
_FRACTION = "substr({c}, 20, 1) = '.' AND substr({c}, 21) NOT GLOB '*[^0-9]*'"
_SQLITE_MOMENT = (
    "CASE WHEN typeof({c}) = 'text' AND {c} GLOB '" + _FORM + "[ T][0-9][0-9]:[0-9][0-9]:[0-9][0-9]*'"
    " AND (length({c}) = 19 OR " + _FRACTION + ")"
    " THEN replace(substr({c}, 1, 19), 'T', ' ') || '.' || substr(substr({c}, 21, 6) || '000000', 1, 6) END"
)
_SQLITE_DAY = "CASE WHEN typeof({c}) = 'text' AND {c} GLOB '" + _FORM + "' THEN {c} END"


def clock(dialect: sa.Dialect) -> ColumnElement[Any] | None:
    """Selects the database's time; None where nobody knows how to ask."""
    found = _CLOCKS.get(dialect.name)
    return None if found is None else sa.literal_column(found)


def clock_of(value: object) -> datetime:
    """:param value: what the driver gives for :func:`clock`."""
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def sqlite_moment(dialect: sa.Dialect, name: str, *, day: bool) -> ColumnElement[Any]:
    """SQLite has no type for times: its functions write ``2026-03-01 12:00:00``, drivers a fraction and a ``T`` as they like. So
    that they compare as times, all go by one form; what has none of these forms counts as no value."""
    column = "r." + dialect.identifier_preparer.quote(name)
    return sa.literal_column((_SQLITE_DAY if day else _SQLITE_MOMENT).format(c=column), sa.Text())


def text_order(
    dialect: sa.Dialect, column: ColumnElement[Any]
) -> tuple[ColumnElement[Any], Callable[[str], ColumnElement[Any]]] | None:
    """What orders a column of text by its bytes in UTF-8, and a text as what can be compared with that."""
    match dialect.name:
        case "postgresql":
            return sa.collate(column, "C"), sa.literal
        case "sqlite":
            return sa.collate(column, "BINARY"), sa.literal
        case "mysql" | "mariadb":
            in_utf8 = sa.cast(column, mysql.CHAR(charset="utf8mb4"))
            return sa.cast(in_utf8, sa.LargeBinary()), lambda text: sa.literal(text.encode(), sa.LargeBinary())
    return None
