"""The bound of a sweep, and the ranges of keys that its tasks compare."""

from __future__ import annotations

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.keys import KeyRange
from airflow_reindex_provider.core.model import Guarantee, Outliers
from airflow_reindex_provider.core.opened import Opened
from airflow_reindex_provider.core.planning import current_generation, told_of
from airflow_reindex_provider.core.protocols import (
    CountingSource,
    SourceSession,
)
from airflow_reindex_provider.core.remembered import Memory, Route
from airflow_reindex_provider.core.sweeping.records import Compare, SweepPlan, SweepRange
from airflow_reindex_provider.core.sweeping.sides import comparing_target, listing_source, listing_target
from airflow_reindex_provider.core.windows import Sizes


def plan_sweep(
    opened: Opened[SourceSession],
    *,
    sizes: Sizes,
    guarantee: Guarantee,
    route: Route | None = None,
    max_delete_fraction: float = 0.05,
    dry_run: bool = False,
    compare: Compare = Compare.VERSIONS,
) -> tuple[SweepPlan, tuple[SweepRange, ...]]:
    """The bound and the ranges. Nothing is written.

    :raises ConfigurationError: one of the two cannot be swept, or nothing has been indexed yet.
    """
    if not 0 <= max_delete_fraction <= 1:
        raise ConfigurationError(
            f"max_delete_fraction is a part of the index, from 0 to 1, and not {max_delete_fraction}."
        )
    stream, source, target, store = opened.stream, opened.source, opened.target, opened.store
    reading, writing = listing_source(source, stream), listing_target(target, stream)
    if guarantee is not Guarantee.VERSIONED and not dry_run:
        raise ConfigurationError(
            f"Stream {stream!r}: the target keeps the last write, whatever its version ({guarantee}). A deletion could take a"
            " row that has come back meanwhile, so only a dry run can sweep it."
        )
    if compare is Compare.CONTENT:
        comparing_target(target, stream)
    generation = current_generation(target)
    position = store.load(stream, generation).position if generation else None
    if generation is None or position is None:
        raise ConfigurationError(
            f"Stream {stream!r} has no checkpoint yet, and a sweep judges only what lies below it: let an incremental run"
            " finish first."
        )
    survey = source.survey()
    if route is not None:
        Memory(store, stream, route).require_same(lambda: survey)
    told = told_of(writing, generation, survey.schema)
    parts = reading.key_ranges(KeyRange(), rows=sizes.batch_rows, max_ranges=sizes.max_batches)
    outliers = source.outliers() if isinstance(source, CountingSource) else None
    plan = SweepPlan(
        stream,
        generation,
        position.cursor,
        survey.schema.cursor_type,
        float(max_delete_fraction),
        dry_run,
        compare,
        null_cursors=outliers.nulls if outliers else None,
        ahead_cursors=outliers.ahead if outliers else None,
        held_by=survey.horizon.held_by,
        warnings=(*survey.warnings, *told, *_not_judged(outliers)),
    )
    return plan, tuple(SweepRange(n, len(parts), part, rows) for n, (part, rows) in enumerate(parts))


def _not_judged(outliers: Outliers | None) -> tuple[str, ...]:
    if outliers is None or not (outliers.nulls or outliers.ahead):
        return ()
    return (
        f"{outliers.nulls:,} rows without a cursor value and {outliers.ahead:,} rows that are ahead of the source's clock are in"
        " no run, and this sweep does not judge them.",
    )
