"""Progress records: true, monotonic, throttled, and never in the way."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_reindex_provider.core.model import Batch, Counts, Position, Window
from airflow_reindex_provider.core.progress import Progress, Status, as_shown
from airflow_reindex_provider.testing.memory import MemoryReporter

BATCH = Batch("products", "g1", 3, 8, Window(None, Position("9")), rows=1000)
FIELDS = """stream mode batch status total processed created updated deleted noops reused version_conflicts failures
docs_per_s eta_ms started_at updated_at message"""


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reporter() -> MemoryReporter:
    return MemoryReporter()


@pytest.fixture
def progress(clock: Clock, reporter: MemoryReporter) -> Progress:
    return Progress(BATCH, "incremental", reporter, clock=clock, wall=lambda: datetime(2026, 1, 1, tzinfo=UTC))


def test_a_record_has_the_agreed_fields(progress: Progress, reporter: MemoryReporter) -> None:
    """Readers of the XCom rely on the names."""
    progress.start()
    (record,) = reporter.records
    assert set(record) == set(FIELDS.split())
    assert (record["stream"], record["mode"], record["batch"], record["status"]) == (
        "products",
        "incremental",
        3,
        "running",
    )
    assert (record["total"], record["processed"], record["docs_per_s"], record["eta_ms"]) == (1000, 0, None, None)


def test_at_most_one_record_a_second_but_every_end(progress: Progress, clock: Clock, reporter: MemoryReporter) -> None:
    """Chunks within a second of the last record are counted and not reported; the end always is."""
    progress.start()
    for _ in range(25):
        clock.seconds += 0.1
        progress.add(Counts(created=10))
    assert len(reporter.records) == 3
    progress.finish(Status.FAILED, "broken")
    last = reporter.records[-1]
    assert (last["status"], last["processed"], last["message"]) == ("failed", 250, "broken")


def test_processed_never_falls_and_never_exceeds_the_total(
    progress: Progress, clock: Clock, reporter: MemoryReporter
) -> None:
    """Rows that turn up beyond the plan raise the total; fewer rows than planned still end complete."""
    progress.start()
    for created in [600, 0, 600]:
        clock.seconds += 1
        progress.add(Counts(created=created))
    progress.finish(Status.COMPLETED)
    seen = [r["processed"] for r in reporter.records]
    assert seen == sorted(seen)
    assert all(r["processed"] <= r["total"] for r in reporter.records)
    assert (reporter.records[-1]["processed"], reporter.records[-1]["total"]) == (1200, 1200)


def test_a_completed_batch_is_at_its_total(progress: Progress, reporter: MemoryReporter) -> None:
    """Rows that moved on meanwhile are a later window's; this batch has nothing left to do."""
    progress.start()
    progress.add(Counts(created=7))
    progress.finish(Status.COMPLETED)
    last = reporter.records[-1]
    assert (last["processed"], last["total"], last["status"]) == (7, 7, "completed")


def test_a_resumed_batch_goes_on_counting(progress: Progress, clock: Clock, reporter: MemoryReporter) -> None:
    """What an earlier try had acknowledged is counted from the first record on."""
    progress.start(Counts(created=400, failures=1))
    clock.seconds += 1
    progress.add(Counts(updated=100))
    first, second = reporter.records
    assert (first["processed"], second["processed"], second["failures"]) == (401, 501, 1)
    assert "401" in first["message"]


def test_rate_and_eta_come_from_the_last_ten_chunks(progress: Progress, clock: Clock, reporter: MemoryReporter) -> None:
    """Slow chunks of long ago say nothing of the time that is left."""
    progress.start()
    for _ in range(5):
        clock.seconds += 60
        progress.add(Counts(created=10))
    for _ in range(10):
        clock.seconds += 2
        progress.add(Counts(created=50))
    last = reporter.records[-1]
    assert last["docs_per_s"] == 25.0
    assert last["eta_ms"] == (1000 - 550) / 25 * 1000


def test_time_before_the_start_is_not_the_first_chunks(
    progress: Progress, clock: Clock, reporter: MemoryReporter
) -> None:
    """Connecting takes its time, which is not counted as slow writing."""
    clock.seconds += 500
    progress.start()
    clock.seconds += 2
    progress.add(Counts(created=100))
    assert reporter.records[-1]["docs_per_s"] == 50.0


def test_chunks_without_rows_or_time_give_no_rate(progress: Progress, clock: Clock, reporter: MemoryReporter) -> None:
    """Neither a division by zero nor an ETA out of nothing."""
    progress.start()
    progress.add(Counts(created=5))
    progress.finish(Status.FAILED)
    assert reporter.records[-1]["docs_per_s"] is None
    clock.seconds += 1
    progress.start()
    progress.add(Counts())


def test_a_reporter_that_fails_does_not_matter(clock: Clock) -> None:
    """The work and its counts go on as if the report had been taken."""

    class Broken:
        def report(self, record: dict[str, Any]) -> None:
            raise ConnectionError("the API server is away")

    progress = Progress(BATCH, "incremental", Broken(), clock=clock)
    progress.start()
    clock.seconds += 5
    progress.add(Counts(created=5))
    progress.finish(Status.COMPLETED)
    assert progress.counts == Counts(created=5)


def test_a_stop_is_shown_before_the_chunk_ends(progress: Progress, clock: Clock, reporter: MemoryReporter) -> None:
    """The process may be killed first. Whatever the chunk still brings is counted, and the end says how it came out."""
    progress.start()
    progress.add(Counts(created=10))
    progress.stop()
    assert (reporter.records[-1]["status"], reporter.records[-1]["processed"]) == ("cancelled", 10)
    clock.seconds += 5
    progress.add(Counts(created=10))
    assert (reporter.records[-1]["status"], reporter.records[-1]["processed"]) == ("cancelled", 20)
    progress.finish(Status.COMPLETED)
    progress.stop()
    assert reporter.records[-1]["status"] == "completed"


@pytest.mark.parametrize("status", list(Status))
def test_what_a_dead_task_left_is_not_shown_as_running(status: Status) -> None:
    """By what Airflow knows of the task: its figures stay, and what it had no time to say is said."""
    record = {"status": str(status), "processed": 7, "message": "so far"}
    assert as_shown(record, task_ended=False) == record
    shown = as_shown(record, task_ended=True)
    if status in (Status.RUNNING, Status.PENDING):
        assert (shown["status"], shown["processed"]) == ("failed", 7)
        assert "it was killed" in shown["message"]
    else:
        assert shown == record
