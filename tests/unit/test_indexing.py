"""The chunk loop: every row once acknowledged, a retry goes on from there, a bad document does not stop the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from airflow_reindex_provider.core.errors import IndexingStoppedError, TooManyFailuresError, TransientError
from airflow_reindex_provider.core.model import (
    Batch,
    BatchResult,
    Counts,
    Document,
    Format,
    Position,
    Rejection,
    Transform,
    Window,
)
from airflow_reindex_provider.core.progress import Progress
from airflow_reindex_provider.core.running.indexing import choose_format, index_batch
from airflow_reindex_provider.testing.memory import (
    MemoryReporter,
    MemoryResumeLog,
    MemorySource,
    MemoryTarget,
    MemoryTargetSession,
)


class Bench:
    """Ten rows a..j with the cursors 1..10, a target that takes two at a time, and one batch over all of them."""

    def __init__(self, stack: ExitStack) -> None:
        self.source = MemorySource(now_us=0)
        for key in "abcdefghij":
            self.source.now_us += 1
            self.write(key, f"title {key}")
        self.source.now_us += 1
        self.target = MemoryTarget()
        self.read = stack.enter_context(self.source.open())
        self.session: MemoryTargetSession = stack.enter_context(self.target.open("products"))
        survey = self.read.survey()
        self.session.create_first("g1", survey.schema)
        end = Position(survey.horizon.cursor or "")
        self.batch = Batch("products", "g1", 0, 1, Window(None, end), rows=10)
        self.resume = MemoryResumeLog()
        self.reporter = MemoryReporter()

    def write(self, key: str, title: str) -> None:
        with self.source.transaction() as transaction:
            transaction.put({"id": key, "title": title})

    def index(
        self,
        *,
        batch: Batch | None = None,
        transform: Transform | None = None,
        max_failures: int = 100,
        should_stop: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> BatchResult:
        """With a clock that stands still nothing is noted but at a stop or an error."""
        return index_batch(
            batch or self.batch,
            source=self.read,
            target=self.session,
            format=Format.ROWS,
            chunk_rows=2,
            max_failures=max_failures,
            progress=Progress(self.batch, "incremental", self.reporter, clock=clock),
            resume=self.resume,
            transform=transform,
            should_stop=should_stop,
        )

    def titles(self) -> dict[str, str]:
        return {key: fields["title"] for (key,), fields in self.target.documents("g1").items()}


@pytest.fixture
def bench() -> Any:
    with ExitStack() as stack:
        yield Bench(stack)


ALL = {key: f"title {key}" for key in "abcdefghij"}


def test_a_batch_is_written_whole(bench: Bench) -> None:
    """All rows arrive, the counts say so, and nothing is left to resume."""
    result = bench.index()
    assert bench.titles() == ALL
    assert (result.batch.number, result.counts, result.chunks, result.rejected) == (0, Counts(created=10), 5, ())
    assert bench.resume.load() is None
    assert bench.reporter.records[-1]["status"] == "completed"


def test_a_retry_goes_on_after_the_last_acknowledged_chunk(bench: Bench) -> None:
    """Two chunks were acknowledged; the retry reads from the third on, and its result counts both tries."""
    bench.target.crash_after(2)
    with pytest.raises(TransientError):
        bench.index()
    assert sorted(bench.titles()) == ["a", "b", "c", "d"]
    read: list[str] = []
    result = bench.index(transform=lambda row: read.append(row["id"]) or row)
    assert "".join(read) == "efghij"
    assert (bench.titles(), result.counts, result.chunks) == (ALL, Counts(created=10), 5)


def test_a_chunk_whose_acknowledgement_was_lost_is_written_again_without_harm(bench: Bench) -> None:
    """The target had taken it; the same versions change nothing."""
    bench.target.crash_after(1, documents=2)
    with pytest.raises(TransientError):
        bench.index()
    assert bench.index().counts == Counts(created=8, noops=2)
    assert bench.titles() == ALL


def test_what_is_acknowledged_is_noted_while_the_batch_runs(bench: Bench) -> None:
    """What has been shown has been noted, so a process that is killed takes nothing back that people have seen."""
    ticks = iter(range(1000))
    noted: list[str] = []
    plain_save = bench.resume.save

    shown: list[dict[str, Any]] = []
    counted: list[int] = []

    def save(value: dict[str, Any]) -> None:
        noted.append(value["end"]["cursor"])
        counted.append(sum(value["counts"].values()))
        assert all(record["processed"] < counted[-1] for record in shown)
        plain_save(value)

    bench.resume.save = save  # type: ignore[method-assign]
    bench.reporter.report = shown.append  # type: ignore[method-assign]
    bench.index(clock=lambda: float(next(ticks)))  # a second a look
    assert len(noted) == 5
    running = [record["processed"] for record in shown if record["status"] == "running"]
    assert running == [0, *counted], "each was noted before it was shown"
    assert noted == sorted(noted)
    assert noted[-1] == bench.batch.window.end.cursor


def test_a_note_of_another_batch_says_nothing(bench: Bench) -> None:
    """A plan made anew puts another slice under the same map index: it starts at its own beginning."""
    bench.target.crash_after(4)
    with pytest.raises(TransientError):
        bench.index()
    other = replace(bench.batch, rows=11)
    read: list[str] = []
    bench.index(batch=other, transform=lambda row: read.append(row["id"]) or row)
    assert "".join(read) == "abcdefghij"


def test_a_stop_is_between_two_chunks_and_keeps_what_is_done(bench: Bench) -> None:
    """The chunk in hand is finished and noted, the record says cancelled, and a retry does the rest."""
    with pytest.raises(IndexingStoppedError, match="2 rows"):
        bench.index(should_stop=lambda: True)
    assert sorted(bench.titles()) == ["a", "b"]
    assert bench.reporter.records[-1]["status"] == "cancelled"
    assert bench.index().counts == Counts(created=10)
    assert bench.titles() == ALL


def test_an_error_ends_the_progress_as_failed(bench: Bench) -> None:
    """No progress is shown as running once the task has ended."""
    bench.target.crash_after(1)
    with pytest.raises(TransientError):
        bench.index()
    assert bench.reporter.records[-1]["status"] == "failed"
    assert "broke off" in bench.reporter.records[-1]["message"]


def refuse(keys: str) -> Callable[[Document], str | None]:
    return lambda document: f"no {document.key[0]}" if document.key[0] in keys else None


def test_a_refused_document_does_not_stop_the_rest(bench: Bench) -> None:
    """It is handed on with key and reason; all others are in."""
    bench.target.refuse = refuse("cd")
    result = bench.index()
    assert result.rejected == (Rejection(("c",), "no c"), Rejection(("d",), "no d"))
    assert result.counts == Counts(created=8, failures=2)
    assert bench.titles() == {k: v for k, v in ALL.items() if k not in "cd"}


def test_refusals_survive_a_crash(bench: Bench) -> None:
    """A document refused before the crash is still parked by the try that finishes the batch."""
    bench.target.refuse = refuse("a")
    bench.target.crash_after(1)
    with pytest.raises(TransientError):
        bench.index()
    assert bench.index().rejected == (Rejection(("a",), "no a"),)


def test_too_many_refusals_stop_the_batch(bench: Bench) -> None:
    """The error says what was refused and why; a retry after mending takes those documents again."""
    bench.target.refuse = refuse("abc")
    with pytest.raises(TooManyFailuresError, match=r"max_failures=2.*a: no a"):
        bench.index(max_failures=2)
    assert "j" not in bench.titles()
    bench.target.refuse = None
    bench.index(max_failures=2)
    assert bench.titles() == ALL


def test_as_many_refusals_as_allowed_pass(bench: Bench) -> None:
    """``max_failures`` is what is allowed, not the first that is too many."""
    bench.target.refuse = refuse("abc")
    assert bench.index(max_failures=3).counts.failures == 3


def test_a_transform_makes_the_document(bench: Bench) -> None:
    """Fields are the transform's, key and version stay the row's."""
    bench.index(transform=lambda row: {"title": row["title"].upper()})
    assert bench.titles()["a"] == "TITLE A"
    assert bench.target.stored("g1")[("a",)].version == 1


def test_a_row_without_a_document_leaves_the_index(bench: Bench) -> None:
    """A filter is membership: what the transform returns nothing for is deleted where it was."""
    bench.index()
    result = bench.index(transform=lambda row: None if row["id"] in "ab" else row)
    assert result.counts.deleted == 2
    assert sorted(bench.titles()) == list("cdefghij")


def test_a_transform_that_raises_parks_its_row(bench: Bench) -> None:
    """One bad row is refused with the error as reason; its neighbours in the chunk are written."""

    def transform(row: dict[str, Any]) -> Mapping[str, Any]:
        if row["id"] == "a":
            raise KeyError("price")
        return row

    result = bench.index(transform=transform)
    assert result.rejected == (Rejection(("a",), "the transform raised KeyError: 'price'"),)
    assert result.counts == Counts(created=9, failures=1)
    assert sorted(bench.titles()) == list("bcdefghij")


def test_deletions_pass_the_transform_by(bench: Bench) -> None:
    """There is no row to transform, and the document must go."""
    bench.index()
    with bench.source.transaction() as transaction:
        transaction.delete("a")
    bench.source.now_us += 1
    window = Window(None, Position(bench.source.horizon().cursor or ""))
    result = bench.index(batch=replace(bench.batch, window=window), transform=lambda row: {"title": row["title"]})
    assert result.counts.deleted == 1
    assert "a" not in bench.titles()


def test_a_row_that_moves_on_meanwhile_is_left_to_a_later_window(bench: Bench) -> None:
    """Between plan and read a row gets a later cursor: this batch does not touch it."""
    bench.write("a", "newer")
    assert bench.index().counts == Counts(created=9)
    assert "a" not in bench.titles()


def test_a_batch_of_keys_reads_those_below_its_window_alone(bench: Bench) -> None:
    """Parked documents are tried again as far as they lie below the horizon of their run."""
    bench.write("b", "newer")
    parked = replace(bench.batch, keys=(("a",), ("b",), ("gone",)))
    assert bench.index(batch=parked).counts == Counts(created=1)
    assert bench.titles() == {"a": "title a"}


def test_the_fastest_common_format_is_chosen() -> None:
    """The target's order decides; a transform wants rows, and rows are always possible."""
    both = [Format.PG_COPY, Format.ROWS]
    assert choose_format([Format.ROWS, Format.PG_COPY], both, None) is Format.PG_COPY
    assert choose_format([Format.ROWS], both, None) is Format.ROWS
    assert choose_format(both, [Format.ROWS], None) is Format.ROWS
    assert choose_format(both, both, dict) is Format.ROWS
