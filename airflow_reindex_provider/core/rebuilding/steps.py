"""A rebuild, step by step: a new generation beside the live one, copied, caught up, verified (``verifying``), promoted.

begin --> copy (batches) --> catch up, window after window --> verify --> catch up --> promote --> retire
  \\-- horizon first                                                        \\-- the checkpoint is saved before the swap

Each step can be done again: a generation has its name from the run, writes carry versions, and the checkpoint of the new
generation says how far it has got. The live one is not touched until the swap.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from airflow_reindex_provider.core.errors import ConfigurationError, TransientError
from airflow_reindex_provider.core.model import Batch, BatchResult, Counts, Guarantee, Mode, Plan, Position
from airflow_reindex_provider.core.opened import Opened
from airflow_reindex_provider.core.planning import make_plan
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.core.protocols import CheckpointStore, RebuildingTarget, SourceSession, TargetSession
from airflow_reindex_provider.core.remembered import Memory, Route
from airflow_reindex_provider.core.running.settling import require_complete, settle
from airflow_reindex_provider.core.windows import Request, Sizes

log = logging.getLogger(__name__)

PREVIOUS = "previous"
MAX_ROUNDS = 1000


def rebuilding(target: TargetSession, stream: str) -> RebuildingTarget:
    """:raises ConfigurationError: the target cannot hold a generation beside the live one."""
    if not isinstance(target, RebuildingTarget):
        raise ConfigurationError(f"Stream {stream!r}: its target cannot make a generation beside the live one.")
    return target


def begin_rebuild(
    opened: Opened[SourceSession],
    generation: str,
    *,
    group: str | None = None,
    route: Route | None = None,
    guarantee: Guarantee = Guarantee.VERSIONED,
    initial_value: str | None = None,
    sizes: Sizes = Sizes(),
    wall: Callable[[], datetime] = utc_now,
) -> Plan:
    """Make the generation, and plan its copy: all rows below the horizon, which is taken before any of them is read.

    Generations that were never served and that no run can be building, since the caller holds the stream's lease, are what
    dead runs have left: they are dropped, by name. Done again, it goes on with what is there.

    :param generation: the same name in every try of a run. :param group: value of the group that the stream is of.
    :param route: as in ``make_plan``.
    :raises ConfigurationError: nothing is live yet, or the stream's definition is wrong.
    :raises TransientError: no row is safe to read at the moment.
    """
    stream, source, store = opened.stream, opened.source, opened.store
    if route is not None:
        Memory(store, stream, route).require_same(source.survey)
    writing = rebuilding(opened.target, stream)
    generations = writing.generations()
    if not any(g.live for g in generations):
        raise ConfigurationError(
            f"Stream {stream!r} has no live generation to rebuild: let the first run of its ReindexDag load the index."
        )
    schema = source.schema()
    for left in generations:
        if not left.live and not left.served and left.name != generation:
            log.warning("Dropping generation %s of stream %r, which a dead rebuild left half built.", left.name, stream)
            discard(stream, left.name, target=writing, store=store)
    if all(there.name != generation for there in generations):
        # One of this name may have left its checkpoint when it was dropped; of an empty one that would say the wrong thing.
        store.reset(stream, generation)
    writing.create(generation, schema)
    plan = make_plan(
        opened,
        Request(Mode.REBUILD),
        into=generation,
        group=group,
        fresh=all(g.name != generation for g in generations),
        guarantee=guarantee,
        initial_value=initial_value,
        sizes=sizes,
        wall=wall,
    )
    if plan.window is None and plan.checkpoint is None:
        raise TransientError(
            f"Stream {stream!r}: no row is safe to read at the moment ({plan.held_by or 'the horizon is not past the start'})."
            " Nothing can be copied; try again later."
        )
    return plan


def begin_rollback(stream: str, to: str, *, target: TargetSession) -> str:
    """The generation to bring back: the newest one before the live one that was served, or the one named.

    :raises ConfigurationError: there is no such generation; says which there are.
    """
    generations = rebuilding(target, stream).generations()
    candidates = [g.name for g in generations if g.served and not g.live]
    live = next((g.name for g in generations if g.live), None)
    if to == PREVIOUS:
        found = [name for name in candidates if live is None or name < live]
    else:
        # A retry after the swap finds it live: nothing is left to do, and that is no error.
        found = [g.name for g in generations if g.served and g.name == to]
    if not found:
        raise ConfigurationError(
            f"Stream {stream!r} cannot be rolled back to {to!r}: besides the live generation {live} it has"
            f" {', '.join(candidates) or 'none that was served'}. Name one of them as rollback_to, or rebuild."
        )
    return found[-1]


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """How a generation was brought up to date. :ivar position: where it stands; None where nothing was ever safe to read."""

    generation: str
    rounds: int
    counts: Counts
    position: Position | None
    parked: int
    held_by: str | None = None
    """What held the last window's horizon back."""
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "generation": self.generation,
            "rounds": self.rounds,
            "processed": self.counts.processed,
            **self.counts.to_json(),
            "checkpoint": self.position.to_json() if self.position else None,
            "parked": self.parked,
            "held_by": self.held_by,
            "warnings": list(self.warnings),
        }


def catch_up(
    opened: Opened[SourceSession],
    generation: str,
    *,
    index: Callable[[Batch], BatchResult],
    run: str,
    max_lag: timedelta,
    max_failures: int,
    initial_value: str | None = None,
    sizes: Sizes = Sizes(),
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], datetime] = utc_now,
) -> CaughtUp:
    """Read on from the generation's own checkpoint, window after window, each up to the horizon of its moment.

    Ends after a window that took less than ``max_lag``, so nothing in the source that is safe to read is older than that;
    or when there is nothing to read. The checkpoint is saved after every window, and refused documents are parked in it.
    """
    counts = Counts()
    for number in range(1, MAX_ROUNDS + 1):
        began = clock()
        plan = make_plan(
            opened,
            Request(Mode.REBUILD),
            into=generation,
            initial_value=initial_value,
            sizes=sizes,
            wall=wall,
        )
        results = [index(batch) for batch in plan.batches]
        outcome = settle(
            plan,
            results,
            store=opened.store,
            target=lambda: nullcontext(opened.target),
            run=run,
            max_failures=max_failures,
            wall=wall,
        )
        require_complete(outcome)
        counts += outcome.counts
        took_s = clock() - began
        log.info("Catching up %s, window %d: %s rows, %.1f s.", generation, number, f"{plan.rows:,}", took_s)
        if plan.window is None or not plan.rows or took_s <= max_lag.total_seconds():
            return CaughtUp(
                generation, number, counts, outcome.checkpoint_after, outcome.parked, plan.held_by, plan.warnings
            )
    raise TransientError(
        f"Stream {opened.stream!r}: after {MAX_ROUNDS} windows generation {generation!r} is still more than {max_lag} behind. The"
        " source changes faster than the index takes it: raise max_lag, or throttle_docs_per_s."
    )


def promote(opened: Opened[SourceSession], generation: str) -> int:
    """Point the public name at the generation. Its checkpoint is saved by then, so the next run goes on from there.

    What the live one holds of rows that are not at rest is carried over; says how many documents that were.

    :raises ConfigurationError: it has no checkpoint, so it was never loaded.
    """
    position = opened.store.load(opened.stream, generation).position
    if position is None:
        raise ConfigurationError(
            f"Stream {opened.stream!r}: generation {generation!r} has no checkpoint, so nobody knows what it holds. It is not"
            " promoted; trigger a new rebuild."
        )
    writing = rebuilding(opened.target, opened.stream)
    carried = 0

    # A row that changes more often than windows close lies above the horizon whenever it is read, so no window ever has it,
    # while the live index holds a state from before. With the cursor of the checkpoint as P, no document of the live index is
    # missing after the swap:
    # - its row lies at or above P at the moment of the listing: then it is listed, and what the live one holds is carried over;
    # - or below P: then it is in the new one. A horizon had passed P before the windows below it were read, so the row has
    #   not moved since, and one of them has found it as it is;
    # - or is deleted outright: then nobody wants the document.
    # Documents that came to the live one since the listing would be a fourth case: so its writes wait meanwhile, where the
    # engine can make them. Only keys are read above the horizon, never what a row holds (promise 2), and what is carried over
    # has the version that it has, so the next run, which reads on from P, brings each of these rows to its state by then.
    def carry(live: str) -> None:
        nonlocal carried
        schema = opened.source.schema()
        carried = sum(
            writing.carry_over(page, schema, from_generation=live, to_generation=generation)
            for page in opened.source.keys_from(position.cursor)
        )

    writing.promote(generation, carry=carry)
    if carried:
        log.info("Carried over %d documents of rows that are not at rest.", carried)
    return carried


def retire(
    stream: str, *, target: TargetSession, store: CheckpointStore, retain: int, keep: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Drop all generations that were served but the live one and the ``retain`` newest others; says which.

    :param keep: stay whatever their age.
    """
    writing = rebuilding(target, stream)
    others = [g.name for g in writing.generations() if g.served and not g.live]
    dropped = tuple(name for name in others[: max(0, len(others) - retain)] if name not in keep)
    for name in dropped:
        log.info("Dropping generation %s of stream %r, past the %d that are kept.", name, stream, retain)
        discard(stream, name, target=writing, store=store)
    return dropped


def discard(stream: str, generation: str, *, target: RebuildingTarget, store: CheckpointStore) -> None:
    """Drop a generation and forget its checkpoint, in this order: a checkpoint without an index misleads nobody."""
    target.drop(generation)
    store.reset(stream, generation)
