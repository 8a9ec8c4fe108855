"""What is remembered of refused documents has a bound in bytes, whatever ``max_failures`` is, and no key is ever forgotten."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_reindex_provider.checkpoints.stored import read_checkpoint
from airflow_reindex_provider.core import parking
from airflow_reindex_provider.core.errors import TooManyFailuresError, TransientError
from airflow_reindex_provider.core.model import BatchResult, Checkpoint, Format, Key, Parked, Plan, Rejection
from airflow_reindex_provider.core.opened import Opened
from airflow_reindex_provider.core.planning import make_plan
from airflow_reindex_provider.core.progress import Progress
from airflow_reindex_provider.core.running import indexing
from airflow_reindex_provider.core.running.indexing import NOTE_BYTES, index_batch
from airflow_reindex_provider.core.running.outcomes import Outcome
from airflow_reindex_provider.core.running.settling import settle
from airflow_reindex_provider.core.sweeping.repairing import RepairResult
from airflow_reindex_provider.core.windows import Request
from airflow_reindex_provider.testing.memory import (
    MemoryCheckpoint,
    MemoryReporter,
    MemoryResumeLog,
    MemorySource,
    MemoryTarget,
)

MANY = 12_000
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Bench:
    """A table of 12,000 rows, a target that refuses as it is told, and a clock that a test moves on."""

    def __init__(self, stack: ExitStack, name: Callable[[int], str] = "{:06}".format) -> None:
        self.source = MemorySource(now_us=1)
        with self.source.transaction() as transaction:
            for n in range(MANY):
                transaction.put({"id": name(n), "title": "x"})
        self.source.now_us += 1
        self.target = MemoryTarget(chunk_rows=1000)
        self.target.refuse = lambda document: f"cannot parse value 'v{document.key[0]}' of column price"
        self.store = MemoryCheckpoint()
        self.read = stack.enter_context(self.source.open())
        self.session = stack.enter_context(self.target.open("products"))
        self.now = NOW
        self.notes = Notes()

    def plan(self) -> Plan:
        return make_plan(
            Opened("products", self.read, self.session, self.store),
            Request(),
            new_generation="g1",
            wall=lambda: self.now,
        )

    def index(self, plan: Plan, number: int = 0, max_failures: int = 20_000) -> BatchResult:
        clock = iter(range(10**6)).__next__
        return index_batch(
            plan.batches[number],
            source=self.read,
            target=self.session,
            format=Format.ROWS,
            chunk_rows=1000,
            max_failures=max_failures,
            progress=Progress(plan.batches[number], "incremental", MemoryReporter(), clock=clock),
            resume=self.notes,
        )

    def run(self) -> Outcome:
        plan = self.plan()
        return self.settle(
            plan, [BatchResult.from_json(self.index(plan, n).to_json()) for n in range(len(plan.batches))]
        )

    def settle(self, plan: Plan, results: Sequence[BatchResult]) -> Outcome:
        return settle(
            plan,
            results,
            store=self.store,
            target=lambda: nullcontext(self.session),
            run="by hand",
            max_failures=20_000,
            wall=lambda: self.now,
        )

    @property
    def stored(self) -> str:
        return self.store.texts["products", "g1"]

    @property
    def parked(self) -> set[Key]:
        return {p.key for p in self.store.load("products", "g1").parked}


class Notes(MemoryResumeLog):
    """Remembers how large each note was."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def save(self, value: dict[str, Any]) -> None:
        self.sizes.append(len(json.dumps(value)))
        super().save(value)


@pytest.fixture
def bench() -> Any:
    def worth_keeping(record: logging.LogRecord) -> bool:
        return not record.msg.startswith("Refused and parked")

    # A line for each of 12,000 documents is kept by pytest several times over, which takes longer than the test.
    indexing.log.addFilter(worth_keeping)
    with ExitStack() as stack:
        stack.callback(indexing.log.removeFilter, worth_keeping)
        yield Bench(stack)


ALL = {(f"{n:06}",) for n in range(MANY)}


def test_twelve_thousand_parked_documents_are_all_remembered_and_all_tried_again(bench: Bench) -> None:
    """Each with a reason of its own: the checkpoint and what a batch says stay small, and later runs release every one."""
    result = bench.index(bench.plan())
    assert len(json.dumps(result.to_json())) < parking.MAX_BYTES
    assert {r.key for r in result.rejected} == ALL

    assert bench.run().parked == MANY

    assert bench.parked == ALL
    assert len(bench.stored) < parking.MAX_BYTES
    assert "cannot parse value … of column price" in json.loads(bench.stored)["parked"][0]["reason"]
    stored = json.loads(bench.stored)
    assert read_checkpoint(stored, stream="products", generation="g1", where="") == Checkpoint.from_json(stored)

    bench.target.refuse = None
    bench.now += timedelta(minutes=6)
    runs = 0
    while bench.parked:
        plan = bench.plan()
        assert len(json.dumps([b.to_json() for b in plan.batches])) < NOTE_BYTES
        bench.run()
        runs += 1
        assert runs <= MANY // 1000 + 1
    assert bench.session.count("g1") == MANY


def test_documents_that_are_refused_again_let_the_others_be_tried(bench: Bench) -> None:
    """Those that have waited longest come first, so each gets its try."""
    bench.run()
    bench.now += timedelta(minutes=6)
    first = bench.plan().batches[-1].keys
    bench.run()
    second = bench.plan().batches[-1].keys
    assert first
    assert not set(first) & set(second)
    assert bench.parked == ALL


def test_a_note_forgets_reasons_before_keys_and_is_not_made_without_keys(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """A try that dies after 11,000 refusals: no note is larger than Airflow takes, and the next try loses none."""
    bench.target.crash_after(11)
    plan = bench.plan()
    with caplog.at_level(logging.INFO), pytest.raises(TransientError):
        bench.index(plan)
    assert bench.notes.sizes
    assert max(bench.notes.sizes) <= NOTE_BYTES
    assert "too many documents were refused to note" in caplog.text

    assert {r.key for r in bench.index(plan).rejected} == ALL


def test_keys_that_are_too_many_stop_the_batch() -> None:
    """A limit of ``max_failures`` that no checkpoint has room for is said when it is met; nothing is parked then."""
    with ExitStack() as stack:
        bench = Bench(stack, lambda n: f"{n:060}")
        with pytest.raises(TooManyFailuresError, match=r"256 kB of keys, whatever max_failures is"):
            bench.index(bench.plan())
        assert ("products", "g1") not in bench.store.texts


def test_a_checkpoint_that_would_grow_too_large_is_not_saved(bench: Bench) -> None:
    """Batches that have room each may not have it together; the run fails, and the checkpoint stays as it was."""
    plan = bench.plan()
    results = [BatchResult(plan.batches[0], bench.index(plan).counts, _long(9_000))]
    with pytest.raises(
        TooManyFailuresError, match=r"9000 documents would be parked, more than a checkpoint has room for"
    ):
        bench.settle(plan, results)
    assert ("products", "g1") not in bench.store.texts


def test_what_a_sweep_tells_of_refused_documents_has_a_bound_too() -> None:
    """A thousand keys of one reason are one entry, and none is left out."""
    rejected = tuple(Rejection((f"{n:06}",), f"cannot parse value 'v{n}' of column price") for n in range(MANY))
    told = RepairResult(rejected=rejected).to_json()
    assert len(json.dumps(told)) < parking.MAX_BYTES
    assert {r.key for r in RepairResult.from_json(json.loads(json.dumps(told))).rejected} == {r.key for r in rejected}


def _long(count: int) -> tuple[Rejection, ...]:
    return tuple(Rejection((f"{n:040}",), "no") for n in range(count))


@pytest.mark.parametrize(
    "entry",
    [
        {"keys": ["1", 2]},
        {"keys": [["1"], "2"], "key": ["3"]},
        {"keys": "12"},
        {},
    ],
)
def test_a_slip_in_packed_keys_is_found(entry: dict[str, Any]) -> None:
    """As in every other field that a person may edit."""
    from airflow_reindex_provider.core.errors import CheckpointInvalidError

    parked = {
        "reason": "no",
        "attempts": 1,
        "parked_at": "2026-01-01T00:00:00+00:00",
        "next_try_at": "2026-01-01T00:00:00+00:00",
    }
    value = {"cursor": "1", "parked": [{**parked, **entry}]}
    with pytest.raises(CheckpointInvalidError):
        read_checkpoint(value, stream="s", generation="g", where="")


def test_packed_keys_may_be_edited_by_hand() -> None:
    """Keys of one column as texts, of several as lists, beside entries that stand for one document."""
    times = {"attempts": 2, "parked_at": "2026-01-01T00:00:00+00:00", "next_try_at": "2026-01-01T01:00:00+00:00"}
    value = {
        "cursor": "1",
        "parked": [{"reason": "a", "keys": ["1", ["2", "x"]], **times}, {"reason": "b", "key": ["3"], **times}],
    }
    checkpoint = read_checkpoint(value, stream="s", generation="g", where="")
    assert checkpoint.parked == (
        Parked(("1",), "a", **times),
        Parked(("2", "x"), "a", **times),
        Parked(("3",), "b", **times),
    )
