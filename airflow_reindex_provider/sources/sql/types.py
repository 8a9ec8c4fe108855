"""Columns of any database: which type an index gives them, and their values as Python's own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy import types
from sqlalchemy.dialects import mysql, postgresql

_MYSQL_INTEGERS = {"TINYINT": "smallint", "SMALLINT": "smallint", "MEDIUMINT": "integer", "INTEGER": "integer"}
_WIDER = {"smallint": "integer", "integer": "bigint", "bigint": "numeric"}


def field_type(kind: types.TypeEngine[Any], dialect: sa.Dialect) -> str | None:
    """The type that a Postgres index would give the column, which is how types are named everywhere here; None where there is
    none, and only the value's text is to be had."""
    sqlite, a_mysql = dialect.name == "sqlite", dialect.name in ("mysql", "mariadb")
    match kind:
        case types.Boolean():
            return "boolean"
        case types.Integer():
            return _integer(kind, sqlite)
        case types.Float():
            small = (isinstance(kind, types.REAL) and not (sqlite or a_mysql)) or isinstance(kind, mysql.FLOAT)
            return "real" if small else "double precision"
        case types.Numeric():
            # Without its limits, so that a wider column later still fits.
            return "numeric"
        case types.DateTime():
            zoned = kind.timezone or (a_mysql and isinstance(kind, mysql.TIMESTAMP))
            return "timestamp with time zone" if zoned else "timestamp without time zone"
        case types.Date():
            return "date"
        case types.Time():
            return "interval" if a_mysql else "time with time zone" if kind.timezone else "time without time zone"
        case types.Interval() | postgresql.INTERVAL():
            return "interval"
        case types.JSON():
            return "jsonb"
        case types.Uuid():
            return "uuid"
        case types.LargeBinary() | types._Binary():
            return "bytea"
        case types.String():
            return "text"
        case types.ARRAY():
            element = field_type(kind.item_type, dialect)
            return None if element is None else element + "[]" * (kind.dimensions or 1)
    return None


def _integer(kind: types.TypeEngine[Any], sqlite: bool) -> str:
    if sqlite or isinstance(kind, types.BigInteger):
        name = "bigint"
    else:
        name = (
            "smallint" if isinstance(kind, types.SmallInteger) else _MYSQL_INTEGERS.get(type(kind).__name__, "integer")
        )
    return _WIDER[name] if getattr(kind, "unsigned", False) else name


def value_of(type: str, dialect: sa.Dialect) -> Callable[[Any], Any] | None:
    """What makes Python's value of the driver's; None where that is one. :param type: as :func:`field_type` names it."""
    if dialect.name == "sqlite":
        return _OF_SQLITE.get(type)
    if type == "interval":
        return interval_text
    if type == "timestamp with time zone" and dialect.name in ("mysql", "mariadb"):
        return lambda value: value.replace(tzinfo=_UTC)
    return None


def interval_text(value: Any) -> str:
    """As every database reads it; Postgres writes the same."""
    if not isinstance(value, timedelta):
        return str(value)
    us = value // timedelta(microseconds=1)
    seconds, fraction = divmod(abs(us), 1_000_000)
    text = f"{'-' if us < 0 else ''}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return text + (f".{fraction:06}".rstrip("0") if fraction else "")


_UTC = datetime.fromisoformat("1970-01-01T00:00:00+00:00").tzinfo


def _exactly(kind: type) -> Callable[[Any], Any]:
    """SQLite lets any value stand in any column: one of another kind is no value of this one."""

    def take(value: Any) -> Any:
        if not isinstance(value, kind):
            raise ValueError(f"{type(value).__name__} instead of {kind.__name__}")
        return value

    return take


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _flag(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError("neither 0 nor 1")
    return bool(value)


def _decimal(value: Any) -> Decimal:
    # The text of a float is the shortest that stands for it: the digits that were written.
    return Decimal(repr(value) if isinstance(value, float) else value)


def _json(value: Any) -> Any:
    import json

    return json.loads(value)


_OF_SQLITE: dict[str, Callable[[Any], Any]] = {
    "bigint": _exactly(int),
    "boolean": _flag,
    "double precision": lambda value: float(_decimal(value)),
    "numeric": _decimal,
    "text": _text,
    "bytea": lambda value: value.encode() if isinstance(value, str) else _exactly(bytes)(value),
    "timestamp without time zone": datetime.fromisoformat,
    "timestamp with time zone": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time without time zone": time.fromisoformat,
    "jsonb": _json,
}
