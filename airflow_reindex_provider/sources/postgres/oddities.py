"""Which errors of a read come from a single row, and which of those leave nothing to mend but the row."""

from __future__ import annotations

import psycopg

_OF_A_ROW = ("21", "22", "38", "39", "54", "P0", "XX")
"""SQLSTATE classes of what evaluating or sending a row may raise: data exceptions (a cast, a division, an encoding), a subquery
with two rows, what functions raise, limits of the server, and rows that are damaged on disk."""
_CANNOT_BE_SENT = ("22021", "22P05", "54000", "54001")
"""Characters that the connection's encoding does not have; a row past a gigabyte; nesting past the server's stack."""
_TOO_LARGE = "invalid memory alloc request size"
"""A row past a gigabyte too, by a function that does not look before."""


def is_of_a_row(error: psycopg.Error) -> bool:
    """Whether other rows may well be read."""
    return (error.sqlstate or "").startswith(_OF_A_ROW)


def cannot_be_sent(error: psycopg.Error) -> bool:
    """Whether the row is what is wrong, and not the author's SQL."""
    return error.sqlstate in _CANNOT_BE_SENT or (error.sqlstate == "XX000" and _TOO_LARGE in str(error))
