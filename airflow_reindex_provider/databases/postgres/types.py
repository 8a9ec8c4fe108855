"""Types of columns: which travel in binary, and which hold every value of another."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg import sql


BINARY_SAFE_TYPES = frozenset(
    {
        *("boolean", "smallint", "integer", "bigint", "real", "double precision", "numeric"),
        *("text", "bytea", "uuid", "json", "jsonb", "tsvector", "bit varying", "inet", "cidr", "macaddr", "macaddr8"),
        *("date", "time without time zone", "time with time zone", "interval"),
        *("timestamp without time zone", "timestamp with time zone"),
        *("point", "int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange"),
    }
)
"""Built-in types whose binary form is the same on every supported server; all others travel as text."""


ONE_TEXT_TYPES = frozenset(
    {
        *("boolean", "smallint", "integer", "bigint", "oid", "xid8", "money", "pg_lsn", "uuid", "bytea"),
        *("text", "character varying", "character", "bpchar", "name", '"char"', "bit", "bit varying", "tsvector"),
        *(
            "date",
            "timestamp without time zone",
            "timestamp with time zone",
            "time without time zone",
            "time with time zone",
        ),
        *("inet", "cidr", "macaddr", "macaddr8", "int4range", "int8range", "daterange", "tsrange", "tstzrange"),
        *("int4multirange", "int8multirange", "datemultirange", "tsmultirange", "tstzmultirange"),
    }
)
"""Types whose equal values are always written the same. Of a numeric (1.0 and 1.00), a float (0 and -0), an interval (1 day and
24:00:00), a jsonb or a citext they are not, and of a type that is on no list nobody knows."""

_LENGTH = re.compile(r"\(\d+\)")
_UNCUT = {
    "character varying": "character varying",
    "character": "bpchar",
    "bit varying": "bit varying",
    "bit": "bit varying",
}
_CUTTING = re.compile(r"^(character varying|character|bit varying|bit)\(\d+\)")
_SCALED = re.compile(r"numeric\(\d+,-?\d+\)")


_AS_TEXT = {"character varying": "text", "character": "text", "name": "text", "bit": "bit varying"}


_WIDENINGS = {
    "smallint": {"integer", "bigint", "numeric", "real", "double precision"},
    "integer": {"bigint", "numeric", "double precision"},
    "bigint": {"numeric"},
    "real": {"double precision"},
    "json": {"jsonb"},
    "cidr": {"inet"},
}


def portable_type(name: str) -> str:
    """The type without what limits it (a length), so that a longer value at the source later still fits."""
    element, brackets = (name[:-2], "[]") if name.endswith("[]") else (name, "")
    return _AS_TEXT.get(element, element) + brackets


def is_binary_safe(name: str) -> bool:
    return name.removesuffix("[]") in BINARY_SAFE_TYPES


IS_FIXED_TEXT = """(
  SELECT c.castmethod IS NOT DISTINCT FROM 'b' OR p.provolatile = 'i'
  FROM (SELECT coalesce(nullif(t.typbasetype, 0), t.oid) AS oid) AS own
  LEFT JOIN pg_cast c ON c.castsource = own.oid AND c.casttarget = 'text'::regtype
  LEFT JOIN pg_proc p ON p.oid = CASE WHEN c.castmethod = 'f' THEN c.castfunc ELSE t.typoutput END)"""
"""Whether the text of a value of type ``t`` (of pg_type) hangs on no setting, so that Postgres indexes it and generates from it.
A cast to text is a function's, or by the way that the type is written."""


def has_one_text(type: str) -> bool:
    """Whether equal values of this type have one text. :param type: as declared: a scale makes a numeric's texts equal.

    A column of text needs a look at its collation besides."""
    element = type.removesuffix("[]")
    return _LENGTH.sub("", element) in ONE_TEXT_TYPES or _SCALED.fullmatch(element) is not None


def fits(source_type: str, target_type: str) -> bool:
    """Whether every value of the one has the same value in the other. Text holds all."""
    if source_type == target_type or target_type == "text":
        return True
    if source_type.endswith("[]") and target_type.endswith("[]"):
        return fits(source_type[:-2], target_type[:-2])
    return target_type in _WIDENINGS.get(source_type, ())


def without_length(type: str) -> str:
    """The type as a cast may name it: one to a text or bits of some length cuts off what is longer, and says nothing."""
    return _CUTTING.sub(lambda match: _UNCUT[match[1]], type)


def converted(value: sql.Composable, type: str, to: str) -> sql.Composed:
    """The value of one type as another. A real goes by the digits that it shows, as it does in rows; a text goes without the
    other's length, so that the column refuses what is too long, and no cast cuts it off."""
    from psycopg import sql

    by_text = "::text" if type.removesuffix("[]") == "real" else ""
    return (
        sql.SQL("({})" + by_text + "::{}").format(value, sql.SQL(without_length(to)))
        if type != to
        else sql.Composed([value])
    )
