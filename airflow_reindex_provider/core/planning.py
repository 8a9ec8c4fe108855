"""From a request to a plan: survey the source, find the generation, choose the window, cut it into batches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from airflow_reindex_provider.core import parking
from airflow_reindex_provider.core.model import (
    Batch,
    Checkpoint,
    Generation,
    Guarantee,
    Key,
    Mode,
    Plan,
    Position,
    Schema,
    Slices,
    Survey,
    Window,
)
from airflow_reindex_provider.core.model.surveys import MOST_COUNTED
from airflow_reindex_provider.core.opened import Opened
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.core.protocols import CheckpointStore, PlanningSource, TargetSession, WarningTarget
from airflow_reindex_provider.core.remembered import Memory, Route
from airflow_reindex_provider.core.windows import Request, Sizes, backfill_window, cursor_bound, incremental_window

log = logging.getLogger(__name__)


def current_generation(target: TargetSession) -> str | None:
    """The generation that runs write to: the live one, else the newest that was, else the first load's that is not public."""
    return current_of(target.generations())


def current_of(generations: Sequence[Generation]) -> str | None:
    """The same, of all that a target has."""
    # Where somebody has dropped the public name alone, the newest that had it is the nearest to what the source says.
    found = next((g for g in generations if g.live), None) or next((g for g in reversed(generations) if g.served), None)
    return found.name if found else (generations[0].name if generations else None)


def _out_of_step(generations: Sequence[Generation], generation: str, checkpoint: Checkpoint) -> Iterator[str]:
    """An index that is served and has no checkpoint, or was served and is not any more: somebody has had a hand in it."""
    found = next((g for g in generations if g.name == generation), None)
    if found is not None and found.live and not checkpoint.version:
        yield (
            f"{generation} is served, and there is no checkpoint of it: it was reset, it is kept in another store"
            " (move_checkpoint), or the run that loaded it died. All rows are read again, and documents that were parked are not"
            " known any more."
        )
    if found is not None and found.served and not any(g.live for g in generations):
        yield (
            f"Nothing of the index is public any more: somebody has removed the public name. The run goes on with {generation},"
            " which had it last, and makes it public again when it is complete."
        )


def told_of(target: TargetSession, generation: str, schema: Schema) -> tuple[str, ...]:
    """What a person should know of a generation: what it has no place for, and what its target says.

    :raises ConfigurationError: it cannot take the rows at all.
    """
    held = set(target.fields(generation, schema))
    own = tuple(target.warnings(generation)) if isinstance(target, WarningTarget) else ()
    missing = [field.name for field in schema.fields if field.name not in held]
    if not missing:
        return own
    names = ", ".join(map(repr, missing))
    return (
        f"Generation {generation!r} does not have the source's columns {names}; rebuild the index to add them.",
        *own,
    )


def is_superseded(target: TargetSession, generation: str) -> bool:
    """Whether a generation is no more because a rebuild has put another one in its place.

    A run that was planned for it has nothing left to do, and nothing is lost with it: the live one holds all rows below its
    own checkpoint, and the next run brings the others."""
    return superseded(target.generations(), generation)


def superseded(generations: Sequence[Generation], generation: str) -> bool:
    """The same, of all that a target has."""
    return any(g.live for g in generations) and all(g.name != generation for g in generations)


def make_plan(
    opened: Opened[PlanningSource],
    request: Request,
    *,
    new_generation: str = "",
    route: Route | None = None,
    into: str | None = None,
    group: str | None = None,
    fresh: bool = False,
    guarantee: Guarantee = Guarantee.VERSIONED,
    initial_value: str | None = None,
    sizes: Sizes = Sizes(),
    wall: Callable[[], datetime] = utc_now,
) -> Plan:
    """Decide what a run does. Everything that is wrong with the stream is raised here, before anything is written.

    The horizon is taken first, in a statement of its own; all later reads of the run stay below it. Nothing is written but the
    stream's first generation and what is remembered of the stream, and in a dry run nothing at all.

    :param new_generation: the name for the first generation, should there be none; not needed with ``into``.
    :param route: what the stream connects, to be remembered and compared; None remembers nothing.
    :param into: plan for this generation, which must be there, and not for the live one.
    :param group: value of the group that the stream is of.
    :param fresh: the caller has just made ``into``, so nobody can have written to it.
    :raises ConfigurationError: the stream's definition, the checkpoint or the window is wrong.
    :raises CheckpointInvalidError: another stream of this name is remembered, or another source that counts anew.
    """
    stream, source, target, store = opened.stream, opened.source, opened.target, opened.store
    generations = () if into else target.generations()
    generation = into or current_of(generations)
    # Before the survey, or another run's save between the two would look like one ahead of the source's clock; and also
    # without a generation, since a store that cannot be reached must show before anything is made.
    checkpoint = store.load(stream, generation or new_generation)
    survey = source.survey()
    # That of a group says no more than the stream's own, once there is an index.
    memory = Memory(store, stream, route) if route and (group is None or generation is None) else None
    read = checkpoint.position is not None
    if memory is not None:
        memory.require_same(lambda: survey)
    told = () if generation is None else told_of(target, generation, survey.schema)
    window = _window(request, survey, checkpoint, initial_value, store)
    remembered = tuple(memory.warnings(generation, survey, read=read)) if memory is not None else ()
    if into is None and generation is not None:
        remembered += tuple(_out_of_step(generations, generation, checkpoint))
    fresh = group is not None and request.mode.moves_checkpoint and (fresh or generation is None)
    slices = _slices(source, window, sizes, fresh)
    if generation is None and not request.dry_run:
        generation = target.create_first(new_generation, survey.schema)
        if fresh and generation != new_generation:
            # Of another run, whose batches may hold rows that have left the group since.
            fresh = False
            slices = _slices(source, window, sizes, fresh)
    if memory is not None and generation is not None and not request.dry_run:
        memory.keep(generation, survey, read=read)
    now = wall()
    retries: tuple[Key, ...] = ()
    if request.mode.moves_checkpoint:
        retries = parking.retries(checkpoint.parked, now)
    batches = _batches(stream, request.mode, generation or new_generation, slices, retries, survey.horizon.cursor)
    return Plan(
        stream=stream,
        mode=request.mode,
        generation=generation or new_generation,
        window=window,
        cursor_type=survey.schema.cursor_type,
        checkpoint=checkpoint.position,
        batches=tuple(replace(batch, group=group, fresh=fresh) for batch in batches) if group is not None else batches,
        rows=slices.rows,
        planned_at=now.isoformat(),
        null_cursors=slices.null_cursors,
        ahead_cursors=slices.ahead_cursors,
        horizon=survey.horizon.cursor,
        horizon_basis=survey.horizon.basis,
        held_by=survey.horizon.held_by,
        guarantee=guarantee,
        dry_run=request.dry_run,
        warnings=(*survey.warnings, *remembered, *told, *_cut(request, survey), *_out_of_reach(slices, survey)),
        group=group,
        tables=slices.tables,
        live=any(g.live and g.name == generation for g in generations),
    )


def _slices(source: PlanningSource, window: Window | None, sizes: Sizes, fresh: bool) -> Slices:
    if window is None:
        return Slices(())
    return source.slices(window, batch_rows=sizes.batch_rows, max_slices=sizes.max_batches, fresh=fresh)


def _window(
    request: Request, survey: Survey, checkpoint: Checkpoint, initial_value: str | None, store: CheckpointStore
) -> Window | None:
    if request.mode is Mode.BACKFILL:
        return backfill_window(survey, request.start, request.end)
    where = store.where(checkpoint.stream, checkpoint.generation)
    return incremental_window(survey, checkpoint.position, initial_value=initial_value, where=where)


def _cut(request: Request, survey: Survey) -> tuple[str, ...]:
    """What a backfill leaves to the live runs, since it is not safe to read yet."""
    kind, horizon = survey.schema.cursor_type, survey.horizon.cursor
    if request.mode is not Mode.BACKFILL or request.end is None or horizon is None:
        return ()
    if kind.ordinal(cursor_bound(survey, request.end)) <= kind.ordinal(horizon):
        return ()
    return (f"The window is cut at the horizon {horizon}; live runs bring the rows from there on.",)


def _out_of_reach(slices: Slices, survey: Survey) -> Iterator[str]:
    """Rows that neither this window nor a later one of an incremental run reads; those without a value are counted apart."""
    if slices.ahead_cursors:
        yield (
            f"{_rows(slices.ahead_cursors)} a cursor value further ahead of the source's clock ({survey.now}) than clocks can"
            " explain, 'infinity' perhaps. They are left out until that time comes: mend the values."
        )
    if slices.endless_cursors:
        yield (
            f"{_rows(slices.endless_cursors)} the cursor value '-infinity', which lies before every checkpoint: only a first"
            " load, a rebuild or a sweep reads them. Give them a time."
        )


def _rows(count: int) -> str:
    return "1 row has" if count == 1 else f"{count:,}{' rows or more' if count >= MOST_COUNTED else ' rows'} have"


def _batches(
    stream: str, mode: Mode, generation: str, slices: Slices, retries: tuple[Key, ...], horizon: str | None
) -> tuple[Batch, ...]:
    of = len(slices.parts) + (1 if retries and horizon else 0)
    batches = [
        Batch(stream, generation, number, of, window, rows, mode=mode, changed=slices.changed)
        for number, (window, rows) in enumerate(slices.parts)
    ]
    if retries and horizon:
        below = Window(None, Position(horizon))
        batches.append(Batch(stream, generation, len(batches), of, below, len(retries), retries, mode))
    return tuple(batches)
