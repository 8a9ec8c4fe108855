"""Which column of a refused row it was: Postgres says what is wrong with a value, and seldom where it stands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import errors, sql

# Postgres' own message names the type at best; of these it names the constraint, the index or the column.
_UNNAMED = (errors.DataError,)
_LENGTH = re.compile(r"(?:character varying|character|bit varying|bit)\((\d+)\)")


def reason_of(
    connection: psycopg.Connection[Any],
    error: psycopg.Error,
    *,
    row: sql.Composable,
    values: Mapping[str, sql.Composable],
    types: Mapping[str, str],
) -> str:
    """Why the row was refused, with the column where one value of it is to blame.

    :param row: what follows FROM to read it. :param values: of each column, as it is written. :param types: of the columns.
    """
    reason = error.diag.message_primary or str(error).strip()
    if isinstance(error, _UNNAMED):
        for name, value in values.items():
            if _is_refused(connection, row, value, types[name]):
                return f"column {name!r}: {reason}"
    return reason


def _is_refused(connection: psycopg.Connection[Any], row: sql.Composable, value: sql.Composable, type: str) -> bool:
    length = _LENGTH.fullmatch(type.removesuffix("[]"))
    tested = value
    if length:
        # A cast would cut off what is too long, so only its length tells.
        values = value if type.endswith("[]") else sql.SQL("ARRAY[{}]").format(value)
        tested = sql.SQL("EXISTS (SELECT FROM unnest({}) AS u(v) WHERE length(v::text) > {})").format(
            values, sql.Literal(int(length[1]))
        )
    try:
        with connection.transaction():
            found = connection.execute(sql.SQL("SELECT {} FROM {}").format(tested, row)).fetchone()
    except (errors.DataError, errors.IntegrityError):
        return True
    return bool(length and found and found[0])
