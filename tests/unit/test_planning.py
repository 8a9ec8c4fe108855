"""From a request to a plan: window, batches, generation, and what is tried again."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import CheckpointInvalidError, ConfigurationError
from airflow_reindex_provider.core.model import Checkpoint, Mode, Parked, Plan, Position, Window
from airflow_reindex_provider.core.opened import Opened
from airflow_reindex_provider.core.planning import current_generation, make_plan
from airflow_reindex_provider.core.windows import Request, Sizes
from airflow_reindex_provider.testing.memory import MemoryCheckpoint, MemorySource, MemoryTarget

KIND = CursorType.TIMESTAMPTZ
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Bench:
    """A table of 100 rows with the cursors 1..100, and a clock at 101."""

    def __init__(self, stack: ExitStack) -> None:
        self.source = MemorySource()
        for n in range(100):
            self.source.now_us += 1
            with self.source.transaction() as transaction:
                transaction.put({"id": f"{n:03}", "title": "x"})
        self.source.now_us += 1
        self.target = MemoryTarget()
        self.store = MemoryCheckpoint()
        self.read = stack.enter_context(self.source.open())
        self.session = stack.enter_context(self.target.open("products"))

    def plan(self, request: Request = Request(), **options: Any) -> Plan:
        return make_plan(
            Opened("products", self.read, self.session, self.store),
            request,
            new_generation="g1",
            wall=lambda: NOW,
            **options,
        )

    def save(self, cursor: int, *parked: Parked) -> None:
        self.store.save(Checkpoint("products", "g1", Position(KIND.text(cursor)), parked))


@pytest.fixture
def bench() -> Any:
    with ExitStack() as stack:
        yield Bench(stack)


def test_the_first_plan_makes_the_generation_and_reads_everything(bench: Bench) -> None:
    """No generation, no checkpoint: a first load of all rows below the horizon, not yet public."""
    plan = bench.plan()
    assert (plan.generation, plan.rows, plan.checkpoint) == ("g1", 100, None)
    assert plan.window == Window(None, Position(KIND.text(101)))
    assert [(g.name, g.live) for g in bench.session.generations()] == [("g1", False)]


def test_a_dry_run_writes_nothing(bench: Bench) -> None:
    """It plans as a real one would, and leaves no generation behind."""
    plan = bench.plan(Request(dry_run=True))
    assert (plan.dry_run, plan.rows, plan.generation) == (True, 100, "g1")
    assert bench.session.generations() == []


def test_the_next_plan_starts_at_the_checkpoint(bench: Bench) -> None:
    """Only what changed since is read."""
    bench.plan()
    bench.save(91)
    plan = bench.plan()
    assert plan.window == Window(Position(KIND.text(91)), Position(KIND.text(101)))
    assert (plan.rows, plan.checkpoint) == (10, Position(KIND.text(91)))


def test_an_initial_value_bounds_the_first_load_alone(bench: Bench) -> None:
    """It stands in for a checkpoint until there is one, and is not taken for one."""
    plan = bench.plan(initial_value=KIND.text(51))
    assert (plan.rows, plan.checkpoint) == (50, None)
    bench.save(91)
    assert bench.plan(initial_value=KIND.text(51)).rows == 10


def test_an_open_transaction_bounds_the_window_and_is_named(bench: Bench) -> None:
    """The plan says where the horizon lies, what it rests on and who holds it back."""
    bench.source.begin()
    bench.source.now_us += 50
    plan = bench.plan()
    assert (plan.horizon, plan.horizon_basis) == (KIND.text(101), "open transactions")
    assert "open since" in (plan.held_by or "")


def test_batches_tile_the_window_and_are_equal_within_five_percent(bench: Bench) -> None:
    """They are numbered in order, meet without a gap, and share the rows evenly."""
    plan = bench.plan(sizes=Sizes(batch_rows=30))
    assert plan.window is not None
    assert [b.number for b in plan.batches] == [0, 1, 2, 3]
    assert {b.of for b in plan.batches} == {4}
    assert plan.batches[0].window.start == plan.window.start
    assert plan.batches[-1].window.end == plan.window.end
    for one, following in zip(plan.batches, plan.batches[1:], strict=False):
        assert one.window.end == following.window.start
    assert {b.rows for b in plan.batches} == {25}


def test_there_are_no_more_batches_than_allowed(bench: Bench) -> None:
    """Beyond the cap they get larger."""
    plan = bench.plan(sizes=Sizes(batch_rows=1, max_batches=8))
    assert len(plan.batches) == 8
    assert sum(b.rows for b in plan.batches) == 100


def test_nothing_new_means_no_batches(bench: Bench) -> None:
    """At the horizon there is no window; below it, a window without rows has no batches."""
    bench.plan()
    bench.save(101)
    assert (bench.plan().window, bench.plan().batches) == (None, ())
    bench.source.now_us += 10
    plan = bench.plan()
    assert (plan.window, plan.batches) == (Window(Position(KIND.text(101)), Position(KIND.text(111))), ())


def parked(key: str, due: datetime) -> Parked:
    return Parked((key,), "no", 1, NOW.isoformat(), due.isoformat())


def test_parked_documents_that_are_due_get_a_batch_of_their_own(bench: Bench) -> None:
    """It comes last and reads them wherever they lie below the horizon."""
    bench.plan()
    bench.save(91, parked("005", NOW), parked("006", NOW + timedelta(seconds=1)))
    plan = bench.plan()
    assert [(b.number, b.of, b.rows, b.keys) for b in plan.batches] == [(0, 2, 10, ()), (1, 2, 1, (("005",),))]
    assert plan.batches[-1].window == Window(None, Position(KIND.text(101)))
    assert plan.rows == 10


def test_parked_documents_are_tried_when_nothing_else_is_new(bench: Bench) -> None:
    """They need no window of their own."""
    bench.plan()
    bench.save(101, parked("005", NOW))
    plan = bench.plan()
    assert plan.window is None
    assert [b.keys for b in plan.batches] == [(("005",),)]


def test_a_backfill_reads_its_window_and_nothing_else(bench: Bench) -> None:
    """Neither the checkpoint nor the parked documents play a part."""
    bench.plan()
    bench.save(91, parked("005", NOW))
    plan = bench.plan(Request(Mode.BACKFILL, KIND.text(11), KIND.text(21)))
    assert plan.window == Window(Position(KIND.text(11)), Position(KIND.text(21)))
    assert (plan.rows, [b.keys for b in plan.batches]) == (10, [()])


def test_a_checkpoint_ahead_of_the_clock_is_an_error_that_says_how_to_reset(bench: Bench) -> None:
    """It is raised before anything is written."""
    bench.plan()
    bench.save(500)
    with pytest.raises(CheckpointInvalidError, match="reset"):
        bench.plan()


def test_a_column_that_is_gone_is_an_error(bench: Bench) -> None:
    """The catalogues are compared before a window is planned."""
    bench.plan()
    del bench.source.columns["title"]
    with pytest.raises(ConfigurationError, match="title"):
        bench.plan()


def test_the_live_generation_is_the_current_one(bench: Bench) -> None:
    """Until one is live, it is the first load's."""
    assert current_generation(bench.session) is None
    bench.plan()
    assert current_generation(bench.session) == "g1"
    bench.session.promote("g1")
    assert current_generation(bench.session) == "g1"


def test_a_plan_survives_json(bench: Bench) -> None:
    """It travels through an XCom, its batches beside it."""
    bench.plan()
    bench.save(91, parked("005", NOW))
    plan = replace(bench.plan(), warnings=("no index",))
    assert Plan.from_json(plan.to_json(), [b.to_json() for b in plan.batches]) == plan
