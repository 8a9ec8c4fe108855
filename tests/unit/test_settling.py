"""What closes a run: how far the checkpoint moves, what is parked, and when a first load becomes public."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise
from typing import Any

import pytest

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import (
    BatchesFailedError,
    CheckpointConflictError,
    TooManyFailuresError,
    TransientError,
)
from airflow_reindex_provider.core.model import (
    Batch,
    BatchResult,
    Checkpoint,
    Counts,
    Field,
    Key,
    Mode,
    Parked,
    Plan,
    Position,
    Rejection,
    Schema,
    Window,
)
from airflow_reindex_provider.core.parking import merge
from airflow_reindex_provider.core.running.outcomes import Outcome
from airflow_reindex_provider.core.running.settling import reached_position, require_complete, settle
from airflow_reindex_provider.testing.memory import MemoryCheckpoint, MemoryTarget, MemoryTargetSession

KIND = CursorType.INTEGER
NOW = datetime(2026, 1, 1, tzinfo=UTC)
A, B = ("a",), ("b",)


def plan(start: int | None, *ends: int, keys: tuple[Key, ...] = (), mode: Mode = Mode.INCREMENTAL) -> Plan:
    """A plan of one batch for each end, and one for the parked keys."""
    marks = [None if start is None else Position(str(start)), *(Position(str(end)) for end in ends)]
    last = marks[-1]
    assert last is not None
    windows = [Window(low, high) for low, high in pairwise(marks) if high]
    of = len(windows) + bool(keys)
    batches = [Batch("s", "g1", number, of, window, 10) for number, window in enumerate(windows)]
    if keys:
        batches.append(Batch("s", "g1", of - 1, of, Window(None, last), len(keys), keys))
    return Plan(
        stream="s",
        mode=mode,
        generation="g1",
        window=Window(marks[0], last),
        cursor_type=KIND,
        checkpoint=marks[0],
        batches=tuple(batches),
        planned_at=NOW.isoformat(),
    )


Done = dict[int, tuple[Rejection, ...]]
"""What the finished batches of a plan have refused, by number."""


def done(*numbers: int, rejected: tuple[Key, ...] = ()) -> Done:
    refused = tuple(Rejection(key, "no") for key in rejected)
    return {n: refused if n == numbers[0] else () for n in numbers}


def results_of(plan: Plan, finished: Done) -> list[BatchResult]:
    return [BatchResult(plan.batches[n], Counts(created=10), refused) for n, refused in finished.items()]


class Bench:
    def __init__(self, session: MemoryTargetSession, store: MemoryCheckpoint) -> None:
        self.session = session
        self.store = store
        self.now = NOW
        session.create_first("g1", Schema((Field("id", "text", "text"),), ("id",), KIND))

    def settle(self, plan: Plan, finished: Done, *, max_failures: int = 10) -> Outcome:
        return self.settle_results(plan, results_of(plan, finished), max_failures=max_failures)

    def settle_results(self, plan: Plan, results: list[BatchResult], *, max_failures: int = 10) -> Outcome:
        return settle(
            plan,
            results,
            store=self.store,
            target=lambda: nullcontext(self.session),
            run="run_1",
            max_failures=max_failures,
            wall=lambda: self.now,
        )

    @property
    def stored(self) -> Checkpoint:
        return self.store.load("s", "g1")

    @property
    def reached(self) -> str | None:
        return self.stored.position.cursor if self.stored.position else None

    @property
    def parked(self) -> list[Key]:
        return [p.key for p in self.stored.parked]

    @property
    def live(self) -> bool:
        return any(g.live for g in self.session.generations())


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(stack.enter_context(MemoryTarget().open("s")), MemoryCheckpoint())


@pytest.mark.parametrize("finished", [c for n in range(5) for c in combinations(range(4), n)], ids=str)
def test_the_checkpoint_goes_to_the_end_of_the_longest_unbroken_run(finished: tuple[int, ...]) -> None:
    """For every set of finished batches: as far as the first that is missing, and no further."""
    unbroken = next((n for n in range(4) if n not in finished), 4)
    run = plan(0, 10, 20, 30, 40)
    results = results_of(run, done(*finished) if finished else {})
    reached = reached_position(run, {r.batch.number: r for r in results})
    assert reached == (Position(str(unbroken * 10)) if unbroken else None)


def test_a_window_without_rows_is_reached_at_once() -> None:
    """Nothing to read is nothing to wait for."""
    assert reached_position(replace(plan(0, 10), batches=()), {}) == Position("10")
    assert reached_position(replace(plan(0, 10), batches=(), window=None), {}) is None


def test_the_batch_of_parked_documents_does_not_hold_the_checkpoint(bench: Bench) -> None:
    """They lie below the checkpoint and stay parked until a run has tried them."""
    bench.settle(plan(None, 10), done(0, rejected=(A,)))
    bench.now += timedelta(hours=1)
    later = replace(plan(10, 20, keys=(A,)), planned_at=bench.now.isoformat())
    outcome = bench.settle(later, done(0))
    assert (bench.reached, bench.parked, outcome.complete) == ("20", [A], False)


def test_a_finished_run_moves_the_checkpoint_and_says_who_did(bench: Bench) -> None:
    """The outcome carries the sums and both ends of the move."""
    outcome = bench.settle(plan(None, 10, 20), done(0, 1))
    assert (outcome.checkpoint_before, outcome.checkpoint_after) == (None, Position("20"))
    assert (outcome.counts, outcome.complete, bench.stored.saved_by) == (Counts(created=20), True, "run_1")
    require_complete(outcome)


def test_a_run_with_a_failed_batch_keeps_what_is_done_and_fails(bench: Bench) -> None:
    """The checkpoint stops before the first failed batch; the error says where it stands."""
    bench.settle(plan(None, 1), done(0))
    outcome = bench.settle(plan(1, 10, 20, 30), done(0, 2))
    assert bench.reached == "10"
    assert outcome.to_json()["status"] == "failed"
    with pytest.raises(BatchesFailedError, match=r"1 of 3 batches failed.*10"):
        require_complete(outcome)


def test_closing_again_after_the_failed_batch_was_cleared_goes_on(bench: Bench) -> None:
    """The run's own move does not stand in its way."""
    bench.settle(plan(None, 10, 20, 30), done(0, 2))
    outcome = bench.settle(plan(None, 10, 20, 30), done(0, 1, 2))
    assert (bench.reached, outcome.complete) == ("30", True)


def test_a_backfill_leaves_the_checkpoint_alone(bench: Bench) -> None:
    """Nothing moves, whatever its window."""
    bench.settle(plan(None, 10), done(0))
    version = bench.stored.version
    outcome = bench.settle(plan(5, 50, mode=Mode.BACKFILL), done(0))
    assert (bench.reached, bench.stored.version, outcome.complete) == ("10", version, True)


def test_results_of_another_plan_count_for_nothing(bench: Bench) -> None:
    """A plan made anew (its task was cleared) has other batches under the same numbers: the old results prove nothing."""
    anew = plan(None, 20, 40)
    outcome = bench.settle_results(anew, results_of(plan(None, 10, 30), done(0, 1)))
    assert (outcome.batches_done, bench.reached, bench.live) == (0, None, False)


def test_an_older_run_does_not_move_the_checkpoint_back(bench: Bench) -> None:
    """Of two overlapping runs the one that got further stays."""
    older, newer = plan(None, 10), plan(None, 20)
    bench.settle(newer, done(0))
    bench.settle(older, done(0))
    assert bench.reached == "20"


def test_a_checkpoint_set_back_by_a_person_is_left_there(bench: Bench) -> None:
    """The run must not move it over the rows that are wanted again; the error says where it is."""
    bench.settle(plan(None, 10), done(0))
    run = plan(10, 20)
    bench.store.save(replace(bench.stored, position=Position("5")))
    with pytest.raises(CheckpointConflictError, match=r"set back to 5.*reset"):
        bench.settle(run, done(0))
    assert bench.reached == "5"
    bench.store.reset("s", "g1")
    with pytest.raises(CheckpointConflictError):
        bench.settle(run, done(0))
    assert bench.reached is None


class Contended(MemoryCheckpoint):
    """Another run parks one document each time this one is about to save."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def save(self, checkpoint: Checkpoint) -> Checkpoint:
        if self.times:
            self.times -= 1
            stored = self.load("s", "g1")
            other = Rejection((f"other{self.times}",), "no")
            parked = (*stored.parked, *_parked(other))
            super().save(replace(stored, parked=parked))
        return super().save(checkpoint)


def _parked(rejection: Rejection) -> tuple[Parked, ...]:
    return merge([], tried=[], planned_at=NOW, rejected=[rejection], now=NOW)


def test_a_lost_race_is_merged_and_not_overwritten(bench: Bench) -> None:
    """What other runs parked meanwhile is kept beside this run's own."""
    bench.store = Contended(2)
    bench.settle(plan(None, 10), done(0, rejected=(A,)))
    assert bench.reached == "10"
    assert set(bench.parked) == {A, ("other0",), ("other1",)}


def test_a_race_lost_again_and_again_is_an_error(bench: Bench) -> None:
    """A store that never takes the save is not tried for ever, and the error is worth a retry."""
    bench.store = Contended(1000)
    with pytest.raises(CheckpointConflictError):
        bench.settle(plan(None, 10), done(0))


def test_refused_documents_are_parked_and_released(bench: Bench) -> None:
    """Parked by the run that met them, released by the run that got them in."""
    bench.settle(plan(None, 10), done(0, rejected=(A, B)))
    assert bench.parked == [A, B]
    bench.now += timedelta(hours=1)
    retry = replace(plan(10, 20, keys=(A, B)), planned_at=bench.now.isoformat())
    outcome = bench.settle(retry, done(1, 0, rejected=(B,)))
    assert (bench.parked, outcome.parked) == ([B], 1)
    assert bench.stored.parked[0].attempts == 2


def test_a_document_parked_anew_by_an_overlapping_run_is_not_released(bench: Bench) -> None:
    """The older run got an older state in; the newer state was refused and must not be forgotten."""
    bench.settle(plan(None, 10), done(0, rejected=(A,)))
    bench.now += timedelta(hours=1)
    older = replace(plan(10, 20, keys=(A,)), planned_at=bench.now.isoformat())
    bench.settle(plan(10, 30), done(0, rejected=(A,)))
    bench.settle(older, done(0, 1))
    assert (bench.reached, bench.parked) == ("30", [A])


def test_too_many_parked_documents_save_nothing(bench: Bench) -> None:
    """The checkpoint stays, so the documents are read again once they are mended."""
    with pytest.raises(TooManyFailuresError, match=r"2 documents.*max_failures=1"):
        bench.settle(plan(None, 10), done(0, rejected=(A, B)), max_failures=1)
    assert bench.stored.version == 0


def test_documents_parked_before_do_not_stop_a_run_without_refusals(bench: Bench) -> None:
    """A limit that was lowered afterwards holds for new refusals alone."""
    bench.settle(plan(None, 10), done(0, rejected=(A, B)))
    bench.settle(plan(10, 20), done(0), max_failures=1)
    assert (bench.reached, bench.parked) == ("20", [A, B])


def test_a_backfill_parks_what_it_could_not_write(bench: Bench) -> None:
    """A document refused in a backfill is tried again by live runs."""
    bench.settle(plan(None, 10), done(0))
    bench.settle(plan(0, 5, mode=Mode.BACKFILL), done(0, rejected=(A,)))
    assert (bench.reached, bench.parked) == ("10", [A])


def test_a_first_load_becomes_public_when_it_is_complete(bench: Bench) -> None:
    """Half a first load is not shown."""
    bench.settle(plan(None, 10, 20), done(0))
    assert not bench.live
    bench.settle(plan(10, 20), done(0))
    assert bench.live


def test_a_first_load_that_had_nothing_safe_to_read_is_not_public(bench: Bench) -> None:
    """While the source has no horizon at all, nothing was loaded that could be shown."""
    bench.settle(replace(plan(None, 10), window=None, batches=()), {})
    assert not bench.live


def unreachable() -> AbstractContextManager[MemoryTargetSession]:
    raise TransientError("nobody needs the target")


def idle(**changes: Any) -> Plan:
    """Of the live generation, whose source had nothing new."""
    return replace(plan(10, 20), batches=(), live=True, **changes)


def close(bench: Bench, plan: Plan, target: Callable[[], Any] = unreachable) -> Outcome:
    return settle(plan, [], store=bench.store, target=target, run="run_1", max_failures=10)


@pytest.mark.parametrize("mode", [Mode.INCREMENTAL, Mode.BACKFILL])
def test_a_run_that_had_nothing_to_write_does_without_its_target(bench: Bench, mode: Mode) -> None:
    """Its checkpoint moves all the same."""
    bench.settle(plan(None, 10), done(0))
    outcome = close(bench, idle(mode=mode))
    assert bench.reached == ("20" if mode is Mode.INCREMENTAL else "10")
    assert outcome.checkpoint_after == bench.stored.position
    assert close(bench, idle(window=None, mode=mode)).complete


@pytest.mark.parametrize(
    "other",
    [
        replace(plan(10, 20), batches=()),
        replace(idle(), checkpoint=None),
        replace(plan(10, 20), live=True),
        replace(plan(10, 20, keys=(A,)), batches=plan(10, 20, keys=(A,)).batches[1:], live=True),
        Plan.from_json({name: fact for name, fact in idle().to_json().items() if name != "live"}, []),
    ],
    ids=["not public", "from nothing on", "a batch", "parked documents", "planned by an older release"],
)
def test_every_other_run_looks_at_its_target(bench: Bench, other: Plan) -> None:
    """Before anything is saved."""
    bench.settle(plan(None, 10), done(0))
    with pytest.raises(TransientError, match="nobody needs"):
        close(bench, other)
    assert bench.reached == "10"


def test_a_run_whose_checkpoint_has_gone_looks_why(bench: Bench) -> None:
    """A person has reset it, or its generation was dropped; it moves nothing."""
    bench.settle(plan(None, 10), done(0))
    bench.store.reset("s", "g1")
    for window in (idle().window, None):
        with pytest.raises(TransientError, match="nobody needs"):
            close(bench, idle(window=window))
    with pytest.raises(CheckpointConflictError, match="set back"):
        close(bench, idle(), lambda: nullcontext(bench.session))
    assert close(bench, idle(window=None), lambda: nullcontext(bench.session)).checkpoint_after is None
    assert bench.stored.version == 0


def test_a_run_that_changes_nothing_saves_nothing(bench: Bench) -> None:
    """A quiet stream does not write to the store every five minutes."""
    bench.settle(plan(None, 10), done(0))
    bench.settle(replace(plan(10, 10), window=None, batches=()), {})
    assert bench.stored.version == 1
