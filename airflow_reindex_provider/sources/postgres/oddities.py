"""Which errors of a read come from a single row, and which of those leave nothing to mend but the row."""

from __future__ import annotations

import re

import psycopg

from airflow_reindex_provider.databases.postgres.sqlstates import Verdict, remedy_of, verdict_of
from airflow_reindex_provider.sources.postgres.joining import LIMIT_MARK

_OF_A_ROW_TOO = ("21", "38", "39", "54", "XX")
"""SQLSTATE classes that say little to whoever writes, and here lead to a row: a subquery with two rows, what functions in other
languages raise, limits of the server, and rows that are damaged on disk."""
_CANNOT_BE_SENT = ("22021", "22P05", "54000", "54001")
"""Characters that the connection's encoding does not have; a row past a gigabyte; nesting past the server's stack."""
_TOO_LARGE = "invalid memory alloc request size"
"""A row past a gigabyte too, by a function that does not look before."""

_TOO_LONG = re.compile(rf"{LIMIT_MARK}\((.*)\)\d+")

_ESCAPED = "unsupported Unicode escape sequence"
"""Of a json column, which keeps what it was given, as text; what is made of several tables becomes jsonb, which cannot."""


def is_of_a_row(error: psycopg.Error) -> bool:
    """Whether other rows may well be read."""
    return verdict_of(error) is Verdict.ROW or (error.sqlstate or "").startswith(_OF_A_ROW_TOO)


def too_long(error: psycopg.Error) -> str | None:
    """Which list of the row is longer than its author allows."""
    found = _TOO_LONG.search(error.diag.message_primary or "")
    return found[1] if found else None


def cannot_be_sent(error: psycopg.Error) -> bool:
    """Whether the row is what is wrong, and not the author's SQL."""
    return error.sqlstate in _CANNOT_BE_SENT or (error.sqlstate == "XX000" and _TOO_LARGE in str(error))


def remedy_for(error: psycopg.Error) -> str:
    """Of a row that :func:`cannot_be_sent`."""
    if error.sqlstate == "22P05" and _ESCAPED in str(error):
        return r"A value of a json column has \u0000, which is no character here: mend it, or leave the column out."
    return remedy_of(error, grant="") or ""
