"""Columns of MySQL and MariaDB whose values its drivers give in ways of their own, or not to the last digit."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, types
from sqlalchemy.dialects import mysql

_LARGEST = ((1, "boolean"), (31, "integer"), (63, "bigint"), (64, "numeric"))
"""Of a bit field, by its width."""
_IS_JSON = re.compile(r"CHECK \(json_valid\(`((?:[^`]|``)+)`\)\)")
Found = tuple[str, ColumnElement[Any], Callable[[Any], Any] | None]


def is_mysql(dialect: sa.Dialect) -> bool:
    return dialect.name in ("mysql", "mariadb")


def odd(column: ColumnElement[Any], *, is_json: bool) -> Found | None:
    """Its type as ``Field.type`` names them, what is read, and what makes Python's value of it; None where the column is
    like one of any database.

    :param is_json: a check says so, which is how MariaDB has documents."""
    kind = column.type
    text = sa.cast(column, mysql.CHAR(charset="utf8mb4"))
    match kind:
        case mysql.BIT():
            width = kind.length or 1
            name = next(name for most, name in _LARGEST if width <= most)
            number = sa.cast(column, mysql.INTEGER(unsigned=True))
            return name, sa.type_coerce(number, types.NullType()), bool if name == "boolean" else int
        case mysql.YEAR():
            return "integer", sa.type_coerce(column, types.NullType()), int
        case mysql.SET():
            # No word of a set has a comma.
            return "text[]", text, lambda value: _text(value).split(",") if value else []
        case types.Enum():
            # A word that is none, which modes of old let in, is an empty text.
            return "text", text, _text
        case mysql.FLOAT():
            # As text it would have six digits.
            return "real", sa.type_coerce(column * sa.literal_column("1e0"), types.NullType()), _shortest
        case types.Float():
            # SQLAlchemy would make a decimal of ten digits of it.
            return "double precision", sa.type_coerce(column, types.NullType()), float
        case types.Time():
            # It may be less than nothing, which a client gets wrong beside a fraction.
            return "interval", text, _text
        case types.JSON():
            return "jsonb", text, _document
        case types.LargeBinary() | types._Binary():
            return "bytea", sa.type_coerce(column, types.NullType()), bytes
    if is_json:
        return "jsonb", text, _document
    return None


def json_columns(connection: sa.Connection, table: str, schema: str | None) -> Collection[str]:
    """Those that MariaDB's JSON stands for: texts with a check. It is read where the table is written out, which is one look at
    one table: information_schema.check_constraints opens all of them, and has been seen to end a MariaDB 10.11."""
    if not getattr(connection.dialect, "is_mariadb", False):
        return ()
    name = ".".join("`" + part.replace("`", "``") + "`" for part in (schema, table) if part)
    _, written, *_ = connection.execute(sa.text(f"SHOW CREATE TABLE {name}".replace(":", "\\:"))).one()
    return [column.replace("``", "`") for column in _IS_JSON.findall(written)]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, (bytes, bytearray)) else str(value)


def _document(value: Any) -> Any:
    return json.loads(value)


def _shortest(value: Any) -> float:
    """The shortest number that this float of four bytes is."""
    whole = struct.pack("f", float(value))
    return next(n for digits in range(6, 10) if struct.pack("f", n := float(f"{value:.{digits}g}")) == whole)
