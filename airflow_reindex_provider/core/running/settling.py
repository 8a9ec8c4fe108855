"""What closes a run: how far it got, which documents it parked, and the checkpoint that follows from both."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime

from airflow_reindex_provider.core import parking
from airflow_reindex_provider.core.errors import (
    BatchesFailedError,
    CheckpointConflictError,
    GenerationGoneError,
    TooManyFailuresError,
)
from airflow_reindex_provider.core.model import (
    BatchResult,
    Checkpoint,
    Counts,
    Generation,
    Mode,
    PassageCounts,
    Plan,
    Position,
)
from airflow_reindex_provider.core.planning import superseded
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.core.protocols import SAVE_TRIES, CheckpointStore, TargetSession
from airflow_reindex_provider.core.running.outcomes import Outcome
from airflow_reindex_provider.core.windows import is_forward

log = logging.getLogger(__name__)


def reached_position(plan: Plan, done: Mapping[int, BatchResult]) -> Position | None:
    """The end of the longest unbroken run of finished batches; the window's end when all are finished.

    None when there is nothing to move to: no window, or its very first batch is missing.
    """
    if plan.window is None:
        return None
    reached: Position | None = None
    for batch in plan.batches:
        if batch.keys:
            continue
        if batch.number not in done:
            return reached
        reached = batch.window.end
    return plan.window.end


def settle(
    plan: Plan,
    results: Iterable[BatchResult],
    *,
    store: CheckpointStore,
    target: Callable[[], AbstractContextManager[TargetSession]],
    run: str,
    max_failures: int,
    wall: Callable[[], datetime] = utc_now,
) -> Outcome:
    """Close a run: publish a first load, move the checkpoint past what was acknowledged, park what was refused.

    The generation is made public before the checkpoint is saved, so a crash between the two only repeats work. A run that had
    nothing to write to the live generation is closed without its target, as long as the checkpoint that it went on from is there:
    what drops a generation forgets its checkpoint too, and what is saved for one that has just gone misleads nobody.

    :param results: of the batches that finished; whatever batch of the plan is missing here has failed.
    :param target: opens it.
    :raises GenerationGoneError: a rebuild has dropped the generation meanwhile; nothing is saved.
    :raises CheckpointConflictError: the stored checkpoint was set back behind where this run started.
    :raises TooManyFailuresError: with these, more documents would be parked than ``max_failures``; nothing is saved.
    """
    # By batch, not by number: after a plan was made anew, what an older one's batches returned says nothing.
    planned = set(plan.batches)
    done = {result.batch.number: result for result in results if result.batch in planned}
    counts = sum((r.counts for r in done.values()), Counts())
    complete = len(done) == len(plan.batches)
    idle = plan.live and not plan.batches and plan.checkpoint is not None
    if not idle:
        with target() as session:
            generations = _require_generation(plan, session)
            # A run that could read nothing (the horizon was held) is no first load, however complete.
            first = plan.window is not None and plan.mode is not Mode.REBUILD and not any(g.live for g in generations)
            if complete and first:
                session.promote(plan.generation)
    reached = reached_position(plan, done) if plan.mode.moves_checkpoint else None
    try:
        before, after = _save(plan, done, reached, store=store, run=run, max_failures=max_failures, wall=wall)
    except CheckpointConflictError:
        # Dropped meanwhile, and its checkpoint forgotten: that is not one that a person has set back.
        with target() as session:
            _require_generation(plan, session)
        raise
    if idle and before.position is None:
        with target() as session:
            _require_generation(plan, session)
    passages = sum((r.passages for r in done.values()), PassageCounts())
    return Outcome(plan, counts, len(done), before.position, after.position, len(after.parked), passages)


def _require_generation(plan: Plan, target: TargetSession) -> Sequence[Generation]:
    generations = target.generations()
    if superseded(generations, plan.generation):
        raise GenerationGoneError(
            f"Stream {plan.stream!r}: generation {plan.generation!r} was dropped while this run was on its way; no checkpoint is"
            " saved for it."
        )
    return generations


def require_complete(outcome: Outcome) -> None:
    """:raises BatchesFailedError: some batch is missing; says how far the checkpoint has come all the same."""
    plan = outcome.plan
    missing = len(plan.batches) - outcome.batches_done
    if missing:
        moved = f"The checkpoint stands at {outcome.checkpoint_after}: " if plan.mode.moves_checkpoint else ""
        raise BatchesFailedError(
            f"Stream {plan.stream!r}: {missing} of {len(plan.batches)} batches failed. {moved}"
            "what finished is kept; clear the failed batches with their downstream task, or let the next run go on."
        )


def _save(
    plan: Plan,
    done: Mapping[int, BatchResult],
    reached: Position | None,
    *,
    store: CheckpointStore,
    run: str,
    max_failures: int,
    wall: Callable[[], datetime],
) -> tuple[Checkpoint, Checkpoint]:
    """Several runs may park documents at once (backfills beside a live run), so a lost race is read and merged again;
    whether the position may move is decided anew each time."""
    rejected = [r for result in done.values() for r in result.rejected]
    tried = [key for b in plan.batches if b.keys and b.number in done for key in b.keys]
    for attempt in range(SAVE_TRIES):
        stored = store.load(plan.stream, plan.generation)
        parked = parking.merge(
            stored.parked,
            tried=tried,
            planned_at=datetime.fromisoformat(plan.planned_at),
            rejected=rejected,
            now=wall(),
        )
        too_much = parking.takes_too_much(parked)
        if rejected and (len(parked) > max_failures or too_much):
            limit = f"max_failures={max_failures}" if len(parked) > max_failures else parking.ROOM
            raise TooManyFailuresError(
                f"Stream {plan.stream!r}: {len(parked)} documents would be parked, more than {limit}."
                f" The checkpoint stays at {stored.position}. Last reason: {rejected[-1].reason}"
            )
        position = stored.position
        if reached is not None and _may_move(plan, stored, reached, store):
            position = reached
        if position == stored.position and parked == stored.parked:
            return stored, stored
        wanted = replace(
            stored, position=position, parked=parked, saved_at=wall().isoformat(timespec="seconds"), saved_by=run
        )
        try:
            return stored, store.save(wanted)
        except CheckpointConflictError:
            if attempt == SAVE_TRIES - 1:
                raise
            log.info("The checkpoint of stream %r was saved by another run meanwhile; reading it again.", plan.stream)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _may_move(plan: Plan, stored: Checkpoint, reached: Position, store: CheckpointStore) -> bool:
    start = plan.window.start if plan.window else None
    forward = is_forward(plan.cursor_type, stored.position, plan.checkpoint, start, reached)
    if forward is False:
        raise CheckpointConflictError(
            f"Stream {plan.stream!r}: the checkpoint was set back to {stored.position} while this run read from"
            f" {plan.checkpoint} on; it is left there, and the next run starts from it."
            f" {store.where(plan.stream, plan.generation)}"
        )
    return bool(forward)
