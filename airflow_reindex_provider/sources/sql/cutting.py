"""Cuts windows into batches at rows of the source: no row leaves it for that."""

from __future__ import annotations

from airflow_reindex_provider.core.model import Position, Slices, Window
from airflow_reindex_provider.sources.sql.asking import Asking
from airflow_reindex_provider.sources.sql.hops import HOPS_PER_BATCH, joined
from airflow_reindex_provider.sources.sql.relation import Relation, texts


def slices(relation: Relation, asking: Asking, window: Window, *, batch_rows: int, max_slices: int) -> Slices:
    """See ``PlanningSource.slices``; what lies outside of all windows is not counted here."""
    step = max(1, batch_rows // HOPS_PER_BATCH)
    cursor = relation.rows.cursor
    starts = [
        Position(cursor.text(place), texts(relation.rows.key, parts))
        for piece in asking.pieces(relation.starts(window, step))
        for place, *parts in piece
    ]
    if not starts:
        return Slices(())
    (last_rows,) = asking.one(relation.count(Window(starts[-1], window.end)))
    return Slices(joined(window, starts, step, int(last_rows), batch_rows, max_slices))
