"""Promises 1-4 under every order of events that hypothesis can think of. The machine that finds nothing in the core must catch
the classic mistakes, which are planted one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from interleavings import KIND, Interleavings, Run, place_of, play, play_until_caught
from storms import tries

from airflow_reindex_provider.core.model import Counts, Document, Horizon, Key, Plan, Position
from airflow_reindex_provider.core.running import settling
from airflow_reindex_provider.core.running.outcomes import Outcome
from airflow_reindex_provider.testing.memory import MemorySource, MemoryTarget


class NaiveSource(MemorySource):
    """``updated_at > last_run``: takes all that is committed now for all there will ever be."""

    def horizon(self) -> Horizon:
        return Horizon(KIND.text(self.now_us), "naive")


class NaiveCursor(Interleavings):
    """(a) reads up to now, whatever is open."""

    def make_source(self, margin_us: int) -> MemorySource:
        return NaiveSource(columns={"id": "text", "state": "integer"}, now_us=100)


class HorizonAfterData(NaiveCursor):
    """(b) the data is read first, and the horizon that the checkpoint moves to is taken afterwards."""

    def close(self, run: Run) -> Outcome:
        horizon = MemorySource.horizon(self.source).cursor
        plan, window = run.plan, run.plan.window
        if window and horizon and KIND.ordinal(horizon) < KIND.ordinal(window.end.cursor):
            batches = tuple(
                replace(b, window=replace(b.window, end=min(b.window.end, Position(horizon), key=place_of)))
                for b in plan.batches
            )
            plan = replace(plan, window=replace(window, end=Position(horizon)), batches=batches)
        return super().close(replace_plan(run, plan))


class PastFailedBatch(Interleavings):
    """(c) the checkpoint moves to the end of the window, whatever has failed in it."""

    def close(self, run: Run) -> Outcome:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(settling, "reached_position", lambda plan, done: plan.window.end if plan.window else None)
            return super().close(run)


class UnversionedTarget(MemoryTarget):
    """The last write wins."""

    def apply(self, stored: dict[Key, Document], document: Document) -> Counts:
        stored[document.key] = document
        return Counts(updated=1)


class UnversionedWrites(Interleavings):
    """(d) writes without a version."""

    def make_target(self) -> MemoryTarget:
        return UnversionedTarget(chunk_rows=2, refuse=lambda d: "refused" if d.key in self.refused else None)


def replace_plan(run: Run, plan: Plan) -> Run:
    return Run(plan, run.results, run.resume)


@pytest.mark.storm
def test_the_promises_hold_under_every_interleaving() -> None:
    """No order of events breaks promises 1 to 4."""
    play(Interleavings, tries(100, of=400))


@pytest.mark.parametrize(
    ("planted", "promise", "good_seed"),
    [
        pytest.param(NaiveCursor, "promise [12]", 1, id="naive-cursor"),
        pytest.param(HorizonAfterData, "promise [12]", 6, id="horizon-after-data"),
        pytest.param(PastFailedBatch, "promise [13]", 4, id="checkpoint-past-failed-batch"),
        pytest.param(UnversionedWrites, "promise [12]", 1, id="writes-without-version"),
    ],
)
def test_a_planted_mistake_is_caught(planted: type[Interleavings], promise: str, good_seed: int) -> None:
    """The machine that finds nothing in the core finds each of the classic mistakes."""
    with pytest.raises(AssertionError, match=promise):
        play_until_caught(planted, good_seed=good_seed)
