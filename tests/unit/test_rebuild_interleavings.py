"""Promises 1-6 while rebuilds, swaps, rollbacks and sweeps go on among writers, runs, crashes and zombies, in any order.

A rebuild's copy is a run like any other to the machine; its swap is one step, as it is where a target can make writes to the
live index wait. The classic mistakes of rebuilds and sweeps are planted one by one, and caught.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from interleavings import (
    BATCH_ROWS,
    KEYS,
    KIND,
    MICROSECONDS,
    STREAM,
    Interleavings,
    Kill,
    Run,
    play,
    play_until_caught,
)
from storms import tries

from airflow_reindex_provider.core.errors import ConfigurationError, ReindexError, TransientError
from airflow_reindex_provider.core.keys import KeyRange
from airflow_reindex_provider.core.model import Batch, BatchResult, Checkpoint, Format, Key, Mode, Plan, Position
from airflow_reindex_provider.core.opened import Opened
from airflow_reindex_provider.core.planning import make_plan
from airflow_reindex_provider.core.progress import Progress
from airflow_reindex_provider.core.protocols import SourceSession
from airflow_reindex_provider.core.rebuilding import steps as rebuilding
from airflow_reindex_provider.core.running.indexing import index_batch
from airflow_reindex_provider.core.running.outcomes import Outcome
from airflow_reindex_provider.core.sweeping import repairing
from airflow_reindex_provider.core.sweeping.allowing import allow
from airflow_reindex_provider.core.sweeping.records import RepairJob, SweepPlan
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.testing.memory import MemoryReporter, MemoryResumeLog, MemorySource
from airflow_reindex_provider.testing.memory_source import MemorySourceSession, Row
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper


class HalfBlindSession(MemorySourceSession):
    """Its scans leave out the first row, as a view does that lacks a join's other side; a look-up finds it."""

    def _in_key_order(self, within: KeyRange) -> list[Row]:
        return super()._in_key_order(within)[1:]


@dataclass
class HalfBlind:
    source: MemorySource
    formats: tuple[Format, ...] = (Format.ROWS,)

    @property
    def label(self) -> str:
        return self.source.label

    @contextmanager
    def open(self) -> Iterator[SourceSession]:
        yield HalfBlindSession(self.source)


class DyingSession(MemorySourceSession):
    """The process is killed while it lists the keys for the swap."""

    def keys_from(self, cursor: str) -> Iterator[Sequence[Key]]:
        raise Kill


@dataclass
class Sweep:
    sweeper: Sweeper
    plan: SweepPlan
    jobs: list[RepairJob] = field(default_factory=list)


class Rebuilds(Interleavings):
    """More of what may happen at any time."""

    @initialize(margin_us=st.integers(0, 2))
    def a_new_stream(self, margin_us: int) -> None:
        super().a_new_stream(margin_us)
        self.made = 0
        self.building: str | None = None
        self.sweeps: list[Sweep] = []

    # Rebuilds

    @precondition(lambda self: self.target._live)
    @rule(batch_rows=BATCH_ROWS)
    def begin_a_rebuild(self, batch_rows: int) -> None:
        """The copy is one of the machine's runs from here on."""
        self.made += 1
        name = f"h{self.made:03}"
        with self.source.open() as source, self.target.open(STREAM) as target:
            try:
                plan = rebuilding.begin_rebuild(
                    Opened(STREAM, source, target, self.store),
                    name,
                    sizes=Sizes(batch_rows=batch_rows, max_batches=4),
                    wall=lambda: self.wall,
                )
            except TransientError:
                return  # nothing is safe to read
        self.building = name
        self.planned(plan)

    @precondition(lambda self: self.building)
    @rule()
    def copy_and_close(self) -> None:
        run = next(run for run in reversed(self.runs) if run.plan.generation == self.building)
        self.work_on_all_batches(run)
        with suppress(ReindexError):
            self.close(run)

    @precondition(lambda self: self.building)
    @rule(us=MICROSECONDS, chunks=st.sampled_from([None, None, 0, 1]))
    def catch_up(self, us: int, chunks: int | None) -> None:
        """:param chunks: after which the target breaks."""
        self.source.now_us += us
        self.target.crash_after(chunks)
        with suppress(TransientError):
            self.bring_up_to_date(self.building or "")
        self.target.crash_after(None)

    def bring_up_to_date(self, generation: str) -> None:
        def planned(*args: Any, **kwargs: Any) -> Plan:
            plan = make_plan(*args, **kwargs)
            if plan.window and not any(not b.keys for b in plan.batches):
                self.acknowledge(generation, plan.window)
            return plan

        with (
            self.source.open() as source,
            self.target.open(STREAM) as target,
            mock.patch.object(rebuilding, "make_plan", planned),
        ):

            def index(batch: Batch) -> BatchResult:
                result = index_batch(
                    batch,
                    source=source,
                    target=target,
                    format=Format.ROWS,
                    chunk_rows=2,
                    max_failures=1000,
                    progress=Progress(batch, Mode.REBUILD, MemoryReporter()),
                    resume=MemoryResumeLog(),
                    transform=self.transform,
                    embed=self.embed,
                )
                if not batch.keys:
                    self.acknowledge(generation, batch.window)
                return result

            rebuilding.catch_up(
                Opened(STREAM, source, target, self.store),
                generation,
                index=index,
                run="run",
                max_lag=timedelta(hours=1),
                max_failures=1000,
                sizes=Sizes(batch_rows=2, max_batches=4),
                wall=lambda: self.wall,
            )

    @precondition(lambda self: self.building)
    @rule(killed=st.sampled_from([None, None, "before", "listing", "after"]))
    def promote(self, killed: str | None) -> None:
        """As the task does it. Killed, it leaves a rebuild that another try goes on with."""
        generation = self.building or ""
        if self.store.load(STREAM, generation).position is None:
            return
        self.bring_up_to_date(generation)
        if killed == "before":
            return
        before = self.index()
        with suppress(Kill):
            self.swap(
                generation, DyingSession(self.source) if killed == "listing" else MemorySourceSession(self.source)
            )
        if self.generation() != generation:
            assert self.index() == before, "promise 5: a swap that did not happen has changed the live index"
            return
        self.a_swap_loses_nothing(before)
        if killed != "after":
            self.bring_up_to_date(generation)
            self.building = None

    def swap(self, generation: str, source: SourceSession) -> None:
        with self.target.open(STREAM) as target:
            rebuilding.promote(Opened(STREAM, source, target, self.store), generation)

    def a_swap_loses_nothing(self, before: dict[Key, Any]) -> None:
        """Promise 5: rows at rest are as in the table, and no document of the live index is missing but for its row."""
        horizon = KIND.ordinal(self.source.horizon().cursor or "")
        excused = {p.key for p in self.checkpoint().parked} | self.refused
        index, rows = self.index(), self.source.rows()
        for key, row in rows.items():
            if key in excused:
                self.seen.pop(key, None)
            elif row.cursor_us < horizon:
                wanted = None if row.deleted else row.values["state"]
                found = index[key]["state"] if key in index else None
                assert found == wanted, f"promise 5: {key} is {found} in the new index, {wanted} in the table"
            else:
                # Not at rest: what the new index holds may be older than what the live one had, until the next run.
                assert key in index or key not in before, f"promise 5: {key} was lost in the swap"
                self.seen.pop(key, None)
        for key in before.keys() - rows.keys():
            self.seen.pop(key, None)

    @rule(retain=st.integers(0, 1))
    def retire(self, retain: int) -> None:
        with self.target.open(STREAM) as target:
            rebuilding.retire(
                STREAM, target=target, store=self.store, retain=retain, keep=(self.building,) if self.building else ()
            )

    @precondition(lambda self: self.target._live and not self.building)
    @rule()
    def roll_back(self) -> None:
        """Chooses what is served again; catching up and the swap are those of a rebuild."""
        self.begin_a_rollback()

    def begin_a_rollback(self) -> None:
        with self.target.open(STREAM) as target, suppress(ConfigurationError):
            self.building = rebuilding.begin_rollback(STREAM, rebuilding.PREVIOUS, target=target)

    @precondition(lambda self: self.target._live)
    @rule(batch_rows=BATCH_ROWS, back=st.booleans())
    def rebuild_or_roll_back_from_start_to_end(self, batch_rows: int, back: bool) -> None:
        if back:
            self.begin_a_rollback()
        else:
            self.begin_a_rebuild(batch_rows)
        if self.building and not back:
            self.copy_and_close()
        if self.building:
            self.promote(None)

    # Rows that are deleted outright, and sweeps

    @rule(key=KEYS)
    def delete_outright(self, key: str) -> None:
        if (key,) not in self.source._locks and self.source._committed.pop((key,), None) is not None:
            self.committed.setdefault((key,), []).append(None)

    def sweeper(self, source: Any = None) -> Sweeper:
        sizes = Sizes(batch_rows=2, max_batches=4)
        run = Runner(
            source=source or self.source,
            target=self.target,
            stream=STREAM,
            store=self.store,
            sizes=sizes,
            max_failures=1000,
            transform=self.transform,
            embed=self.embed,
        )
        return Sweeper(run=run, max_delete_fraction=1)

    @rule(half_blind=st.booleans())
    def begin_a_sweep(self, half_blind: bool) -> None:
        sweeper = self.sweeper(HalfBlind(self.source) if half_blind else None)
        try:
            plan, ranges = sweeper.plan()
        except ConfigurationError:
            return  # nothing has been indexed yet
        self.sweeps.append(
            Sweep(sweeper, plan, list(allow(plan, [(part, sweeper.compare(plan, part)) for part in ranges])))
        )

    @precondition(lambda self: self.sweeps)
    @rule(which=st.integers(0, 5), again=st.booleans())
    def repair(self, which: int, again: bool) -> None:
        """Perhaps long after the comparison, or twice."""
        sweep = self.sweeps[which % len(self.sweeps)]
        if not again:
            self.sweeps.remove(sweep)
        before = self.index()
        for job in sweep.jobs:
            with self.judging(), suppress(ReindexError):
                sweep.sweeper.repair(sweep.plan, job)
        rows = self.source.rows()
        for key in before.keys() - self.index().keys():
            assert key not in rows or rows[key].deleted, f"promise 6: {key} was deleted, and its row is there"

    def judging(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def come_to_an_end(self) -> None:
        super().come_to_an_end()
        self.sweeper().sweep()


class CursorAfterCopy(Rebuilds):
    """(e) the new generation's cursor is taken when its copy is done."""

    def close(self, run: Run) -> Outcome:
        outcome = super().close(run)
        if run.plan.mode is Mode.REBUILD and outcome.complete:
            stored = self.store.load(STREAM, run.plan.generation)
            self.store.save(_at(stored, self.source.horizon().cursor or ""))
        return outcome


class NoCatchUp(Rebuilds):
    """(f) swapped as it was copied."""

    def bring_up_to_date(self, generation: str) -> None:
        pass


class NoCarryOver(Rebuilds):
    """(g) rows that are not at rest are left to the next run."""

    def swap(self, generation: str, source: SourceSession) -> None:
        with mock.patch.object(MemorySourceSession, "keys_from", return_value=()):
            super().swap(generation, source)


class RollbackWithAnothersCursor(Rebuilds):
    """(h) what is served again goes on from the cursor of the one before."""

    def begin_a_rollback(self) -> None:
        there = self.checkpoint()
        super().begin_a_rollback()
        if self.building and there.position:
            self.store.save(_at(self.store.load(STREAM, self.building), there.position.cursor))


class NoSecondLook(Rebuilds):
    """(i) a sweep deletes what its scan did not see."""

    def judging(self) -> AbstractContextManager[Any]:
        return mock.patch.object(repairing, "require_absent", lambda orphans, found: list(orphans))


def _at(checkpoint: Checkpoint, cursor: str) -> Checkpoint:
    return replace(checkpoint, position=Position(cursor))


@pytest.mark.storm
def test_the_promises_hold_under_every_interleaving() -> None:
    """No order of events breaks promises 1 to 6."""
    play(Rebuilds, tries(75, of=300))


@pytest.mark.parametrize(
    ("planted", "promise", "good_seed"),
    [
        pytest.param(CursorAfterCopy, "promise [1235]", 3, id="cursor-after-copy"),
        pytest.param(NoCatchUp, "promise [125]", 8, id="no-catch-up"),
        pytest.param(NoCarryOver, "promise 5", 4, id="no-carry-over"),
        pytest.param(RollbackWithAnothersCursor, "promise [1235]", 1, id="rollback-with-anothers-cursor"),
        pytest.param(NoSecondLook, "promise [16]", 2, id="sweep-of-half-a-source"),
    ],
)
def test_a_planted_mistake_is_caught(planted: type[Rebuilds], promise: str, good_seed: int) -> None:
    """The machine that finds nothing in the core finds each of the classic mistakes."""
    with pytest.raises(AssertionError, match=promise):
        play_until_caught(planted, good_seed=good_seed)
