"""Clean-up beside rebuilds, rollbacks, sweeps, runs, crashes and zombies, in any order: promises 1-6 hold, and mistakes that are
planted are caught."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from interleavings import BATCH_ROWS, MICROSECONDS, STREAM, play, play_until_caught
from storms import tries
from test_rebuild_interleavings import Rebuilds

from airflow_reindex_provider.control.cleaning import Cleaning, find_orphans
from airflow_reindex_provider.core.cleaning import of_stream
from airflow_reindex_provider.core.cleaning.of_stream import StreamCleaning
from airflow_reindex_provider.core.cleaning.records import Orphan, OrphanKind, Rules
from airflow_reindex_provider.core.cleaning.unseen import judged
from airflow_reindex_provider.core.errors import CheckpointConflictError, ReindexError, StreamBusyError
from airflow_reindex_provider.core.leases import LEASE, Keeper
from airflow_reindex_provider.core.model import Checkpoint, Position
from airflow_reindex_provider.core.remembered import Route
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.testing.memory import MemoryCheckpoint, MemorySource, MemoryTarget

ROUTE = Route("rows in memory", "index in memory")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Cleaned(Rebuilds):
    """Rebuilds that hold the lease as their tasks do, and clean-ups that are planned and done at any time."""

    @initialize(margin_us=st.integers(0, 2))
    def a_new_stream(self, margin_us: int) -> None:
        super().a_new_stream(margin_us)
        self.born: dict[str, datetime] = {}
        self.found: list[list[Orphan]] = []

    def keeper(self, purpose: str) -> Keeper:
        return Keeper(self.store, STREAM, holder=purpose, purpose=purpose, wall=lambda: self.wall)

    @rule(batch_rows=BATCH_ROWS)
    def begin_a_rebuild(self, batch_rows: int) -> None:
        if not self.target._live:
            return
        with suppress(StreamBusyError):
            self.keeper("rebuild").keep()
            super().begin_a_rebuild(batch_rows)
            self.born.setdefault(f"h{self.made:03}", self.wall)

    @precondition(lambda self: self.building)
    @rule(us=MICROSECONDS, chunks=st.sampled_from([None, None, 0, 1]))
    def catch_up(self, us: int, chunks: int | None) -> None:
        if self.keeps_the_lease():
            super().catch_up(us, chunks)

    @precondition(lambda self: self.building)
    @rule(killed=st.sampled_from([None, None, "before", "listing", "after"]))
    def promote(self, killed: str | None) -> None:
        if self.keeps_the_lease():
            super().promote(killed)

    @precondition(lambda self: self.building)
    @rule()
    def copy_and_close(self) -> None:
        if self.keeps_the_lease():
            super().copy_and_close()

    def begin_a_rollback(self) -> None:
        with suppress(StreamBusyError):
            self.keeper("rebuild").keep()
            super().begin_a_rollback()

    @rule(retain=st.integers(0, 1))
    def retire(self, retain: int) -> None:
        with suppress(StreamBusyError):
            self.keeper("rebuild").keep()
            super().retire(retain)
            if not self.building:
                self.keeper("rebuild").release()

    def keeps_the_lease(self) -> bool:
        """As a task does it before each step. What it was building may be gone: a clean-up had the lease meanwhile, since it had
        run out; then the next task says so and fails."""
        try:
            self.keeper("rebuild").keep()
        except StreamBusyError:
            return False
        if self.building not in self.target._indexes:
            self.building = None
        return self.building is not None

    def cleaning_rules(self, retain: int | None) -> Rules:
        return Rules(retain, timedelta(hours=20))

    @rule(retain=st.sampled_from([None, 0, 1]))
    def look_for_orphans(self, retain: int | None) -> None:
        with self.target.open(STREAM) as target:
            self.found.append(list(self.cleaning(target, retain).find()))

    @precondition(lambda self: self.found)
    @rule(which=st.integers(0, 5), retain=st.sampled_from([None, 0, 1]), breaks=st.sampled_from([False, False, True]))
    def drop_orphans(self, which: int, retain: int | None, breaks: bool) -> None:
        """Perhaps long after they were found, twice, or broken off."""
        wanted = self.found[which % len(self.found)]
        keeper = self.keeper("clean-up")
        with suppress(StreamBusyError, CheckpointConflictError):
            keeper.keep()
            with self.target.open(STREAM) as target:
                gone = self.cleaning(target, retain).drop(wanted, keep=keeper.keep, troubles={})
                for _ in gone:
                    if breaks:
                        return
            keeper.release()

    def cleaning(self, target: object, retain: int | None) -> StreamCleaning:
        return StreamCleaning(
            stream=STREAM,
            route=ROUTE,
            target=target,  # type: ignore[arg-type]  # a session in memory
            store=self.store,
            rules=self.cleaning_rules(retain),
            now=self.wall,
            source=self.source.open,
            born=self.born.get,
        )


class OfRunningRebuilds(Cleaned):
    """(j) cleans without the lease: whatever was never served is taken for left."""

    @rule(retain=st.sampled_from([None, 0, 1]))
    def look_for_orphans(self, retain: int | None) -> None:
        with self.target.open(STREAM) as target:
            for orphan in list(self.cleaning(target, retain).find()):
                with suppress(ReindexError):
                    self.cleaning(target, retain)._drop(orphan)

    def cleaning_rules(self, retain: int | None) -> Rules:
        return Rules(retain, timedelta(0))

    def keeps_the_lease(self) -> bool:
        assert self.building in self.target._indexes, "the generation of a running rebuild was dropped"
        return True


class CheckpointOfTheLive(Cleaned):
    """(k) takes every checkpoint for one of a generation that is gone."""

    def cleaning(self, target: object, retain: int | None) -> StreamCleaning:
        def all_of_them(stream: str, kept: list[Checkpoint], *_: object, **__: object) -> Iterator[Orphan]:
            for checkpoint in kept:
                yield Orphan(OrphanKind.CHECKPOINT, stream, checkpoint.generation, "", "")

        mock.patch.object(of_stream, "unneeded_checkpoints", all_of_them).start()
        return super().cleaning(target, retain)

    def teardown(self) -> None:
        mock.patch.stopall()
        assert self.checkpoint().position or not self.index(), "promise 3: the live generation has lost its checkpoint"
        super().teardown()


class ParkedOutOfHand(Cleaned):
    """(l) gives up parked documents without a look at their rows."""

    def cleaning(self, target: object, retain: int | None) -> StreamCleaning:
        cleaning = super().cleaning(target, retain)
        source = MemorySource(columns={"id": "text", "state": "integer"}, now_us=100)
        return replace(cleaning, source=source.open, rules=Rules(retain, timedelta(0)))

    @precondition(lambda self: self.checkpoint().parked)
    @rule()
    def clean_up_at_once(self) -> None:
        """So that one is met while something is parked: else it is found by luck alone."""
        self.look_for_orphans(retain=None)
        self.drop_orphans(which=len(self.found) - 1, retain=None, breaks=False)


@pytest.mark.storm
def test_the_promises_hold_beside_clean_ups() -> None:
    """No order of events breaks promises 1 to 6."""
    play(Cleaned, tries(50, of=150))


@pytest.mark.parametrize(
    ("planted", "said", "good_seed"),
    [
        pytest.param(OfRunningRebuilds, "running rebuild was dropped", 2, id="of-running-rebuilds"),
        pytest.param(CheckpointOfTheLive, "promise 3", 5, id="checkpoint-of-the-live"),
        pytest.param(ParkedOutOfHand, "promise [14]", 1, id="parked-out-of-hand"),
    ],
)
def test_a_planted_mistake_is_caught(planted: type[Cleaned], said: str, good_seed: int) -> None:
    """The machine that finds nothing in the core finds each of these."""
    try:
        with pytest.raises(AssertionError, match=said):
            play_until_caught(planted, good_seed=good_seed)
    finally:
        mock.patch.stopall()


# Rules that are told in words


def stream_in(store: MemoryCheckpoint, *, name: str = "products", target: MemoryTarget | None = None) -> Stream:
    return Stream(name=name, source=MemorySource(now_us=10), target=target or MemoryTarget(name=name), checkpoint=store)


def saved(store: MemoryCheckpoint, stream: str, generation: str, at: datetime | None = None) -> None:
    before = store.load(stream, generation)
    moment = at and at.isoformat()
    store.save(replace(before, position=Position("1", ("a", "b", "c")), saved_at=moment))


def test_a_target_that_does_not_answer_is_told_and_the_others_are_looked_at() -> None:
    """The troubles name the stream."""

    class Down(MemoryTarget):
        def open(self, stream: str) -> object:  # type: ignore[override]  # it does not open
            raise ZeroDivisionError("nobody answers")

    store = MemoryCheckpoint()
    well = stream_in(store)
    with well.target.open("products") as target, well.source.open() as source:
        live, left = well.target.generation_name("20250101t000000"), well.target.generation_name("20250102t000000")
        target.create_first(live, source.schema())
        target.promote(live)
        target.create(left, source.schema())  # type: ignore[attr-defined]  # a session in memory can
    found = find_orphans(Cleaning(streams=[stream_in(store, name="down", target=Down()), well]), now=NOW)
    assert [o.name for o in found.orphans] == [left]
    assert found.troubles == {"down": "ZeroDivisionError: nobody answers"}


def test_a_stream_that_is_gone_and_at_work_stays() -> None:
    """A checkpoint saved lately, or a lease that is held, says more than a person who thinks that it is gone."""
    thing = Orphan(OrphanKind.CHECKPOINT, "old", "old_20250101t000000", "here", "")
    for generation, at in (("old_20250101t000000", NOW - timedelta(hours=1)), (LEASE, None)):
        store = MemoryCheckpoint()
        if generation == LEASE:
            Keeper(store, "old", holder="a run", purpose="sweep", wall=lambda: NOW).keep()
        else:
            saved(store, "old", generation, at)
        ((left, goes),) = judged([thing], {"here": list(store.kept())}, gone=["old"], rules=Rules(), now=NOW)
        assert not goes
        assert "it is said to be gone" in left.reason


def test_the_group_of_a_stream_in_sight_is_in_sight() -> None:
    """Also one that no list of groups has: the list may have been reset, and the next run finds it again."""

    class Grouped(Stream):
        has_groups = True

    store = MemoryCheckpoint()
    saved(store, "products.eu", "products_eu_20250101t000000", NOW - timedelta(days=9))
    saved(store, "productsx", "x_20250101t000000", NOW - timedelta(days=9))
    grouped = object.__new__(Grouped)
    for name, value in vars(stream_in(store)).items():
        object.__setattr__(grouped, name, value)
    found = find_orphans(Cleaning(streams=[grouped], gone=["productsx", "products.eu"]), now=NOW)
    assert [o.stream for o in found.orphans] == ["productsx"]
    assert found.left == []
