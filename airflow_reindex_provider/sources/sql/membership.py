"""When a row is no member: it is soft-deleted, or does not match the author's filter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, FromClause

from airflow_reindex_provider.sources.sql.definition import TableDefinition

_NUMBERS = ("smallint", "integer", "bigint", "numeric", "real", "double precision", "bit")


def gone(source: TableDefinition, table: FromClause, types: Mapping[str, str]) -> ColumnElement[Any]:
    """1 for a row that is to leave the index, else 0.

    :param types: of the table's columns, as ``Field.type`` names them.
    """
    yes: ColumnElement[Any] = sa.literal_column("1")
    no: ColumnElement[Any] = sa.literal_column("0")
    conditions: list[tuple[ColumnElement[bool], ColumnElement[Any]]] = []
    if source.soft_delete_column is not None:
        conditions.append((_deleted(table.c[source.soft_delete_column], types[source.soft_delete_column]), yes))
    if source.row_filter is None:
        return sa.case(*conditions, else_=no) if conditions else no
    # The author's SQL may end in a comment: hence the line break before what follows. Literal, since a colon binds nothing in it.
    conditions.append((sa.literal_column(f"({source.row_filter}\n)", sa.Boolean()), no))
    return sa.case(*conditions, else_=yes)


def _deleted(column: ColumnElement[Any], type: str) -> ColumnElement[bool]:
    kind = type.partition("(")[0]
    if kind == "boolean":
        return column.is_not(None) & (column == sa.true())
    if kind in _NUMBERS:
        return column.is_not(None) & (column != 0)
    if kind == "text":
        # Of anything but a flag, having a value is what counts; a text may be one that is spelt out.
        return column.is_not(None) & column.not_in(["f", "false"])
    return column.is_not(None)
