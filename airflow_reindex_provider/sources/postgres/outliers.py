"""Rows that no window reaches, however much time passes: without a cursor value, far ahead of the clock, at -infinity."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.model import Outliers, Window
from airflow_reindex_provider.core.model.surveys import MOST_COUNTED
from airflow_reindex_provider.sources.postgres.relations import Relations

AHEAD = {CursorType.TIMESTAMPTZ: 5 * 60 * 10**6, CursorType.TIMESTAMP: 65 * 60 * 10**6, CursorType.DATE: 1}
"""What clocks can explain, in the units of the cursor: five minutes between two machines, the hour that comes twice in a
year, and the day that has begun elsewhere. A row no further ahead is read in time."""


def in_passing(relations: Relations, window: Window) -> sql.Composable | None:
    """What a plan counts beside cutting the window: at most ``MOST_COUNTED`` rows in a range of an index on the cursor. Without
    such an index a load from the first row on counts them, which reads the whole table in any case, and no other run does.
    Rows without a value are counted wherever there may be some."""
    described = relations.description
    indexed = described.catalogue.has_index_on((described.definition.cursor_field,))
    counted = indexed or window.start is None
    of_time = described.schema.cursor_type in AHEAD
    nullable = not described.cursor_is_not_null
    if not (nullable or (counted and of_time)):
        return None
    return relations.rows.outliers(
        nulls=nullable,
        ahead_of=_bound(relations) if counted else None,
        endless=of_time and indexed and window.start is not None,
        limit=MOST_COUNTED,
        beside=_parts(relations),
    )


def count(relations: Relations, connection: psycopg.Connection[Any]) -> Outliers:
    """All of them, in one look at the table."""
    bound = _bound(relations)
    found = relations.rows.outliers(
        nulls=True, ahead_of=bound, endless=bound is not None, limit=None, beside=_parts(relations)
    )
    row = connection.execute(sql.SQL("SELECT {}").format(found)).fetchone()
    assert row is not None
    return Outliers(**row[0])


def _parts(relations: Relations) -> list[tuple[sql.Composable, sql.Composable]]:
    """A document is as late as its latest part: one that is ahead keeps it from every window, and one at -infinity is in none."""
    if relations.composition is None:
        return []
    nodes = (node for top in relations.composition.nodes for node in top.walk())
    return [(sql.SQL("{} AS {}").format(node.table, sql.Identifier(node.row)), node.cursor) for node in nodes]


def _bound(relations: Relations) -> str | None:
    kind, facts = relations.description.schema.cursor_type, relations.description.catalogue.facts
    if kind not in AHEAD:
        return None
    suffix = {CursorType.TIMESTAMPTZ: "", CursorType.TIMESTAMP: "_local", CursorType.DATE: "_date"}[kind]
    return kind.text(kind.ordinal(facts["now" + suffix]) + AHEAD[kind])
