"""Rows in groups, by the value of a column: which groups there are, and which rows are in one. Texts are told apart byte by byte,
whatever the database's collation takes for equal: one group, one text."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Select

from airflow_reindex_provider.core.model import Groups, Window
from airflow_reindex_provider.sources.sql.asking import Asking
from airflow_reindex_provider.sources.sql.relation import KeyColumn, Part


def is_member(group: KeyColumn, value: str) -> ColumnElement[bool]:
    """Never, where the value is none of the column's type."""
    assert group.order is not None
    try:
        equal = group.column == group.bind(value)
    except ValueError:
        return sa.false()
    if group.order is group.column:
        return equal
    # The first of the two is for an index.
    return sa.and_(equal, group.order == group.order_bind(value))


def groups(asking: Asking, rows: Part, group: KeyColumn, window: Window, *, limit: int) -> Groups:
    """See ``GroupedSession.groups``."""
    (nulls,) = asking.one(rows.select(sa.func.count(), where=[*rows.within(window), group.column.is_(None)]))
    found = asking.all(_values(rows, group, window).limit(limit))
    return Groups(tuple(group.text(value) for (value,) in found), int(nulls))


def _values(rows: Part, group: KeyColumn, window: Window) -> Select[Any]:
    assert group.order is not None
    where = [*rows.within(window), group.column.is_not(None)]
    # All of a group are the same text; some databases want it to be said.
    value = group.selected if group.order is group.column else sa.func.min(group.selected)
    return rows.select(value, where=where).group_by(group.order).order_by(group.order)
