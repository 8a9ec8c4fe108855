"""What an observer is told: everything once, whatever becomes of the batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest

from airflow_reindex_provider.core.errors import TransientError
from airflow_reindex_provider.core.model import Batch, Chunk, Format, Position, Schema, Window, WriteResult
from airflow_reindex_provider.core.observing import Meter, Side, Span, Step, Traffic, Unobserved
from airflow_reindex_provider.core.progress import Progress
from airflow_reindex_provider.core.protocols import Writer
from airflow_reindex_provider.core.running.indexing import index_batch
from airflow_reindex_provider.targets.search.pace import Pace
from airflow_reindex_provider.testing.memory import MemoryReporter, MemoryResumeLog, MemorySource, MemoryTarget


class Sending:
    """A writer that sends ten bytes a document, and is pushed back once a chunk."""

    def __init__(self, inner: Writer) -> None:
        self._inner = inner
        self._meter = Meter()

    @property
    def traffic(self) -> Traffic:
        return self._meter.traffic

    def write(self, chunk: Chunk) -> WriteResult:
        self._meter.pushed_back(0.5)
        result = self._inner.write(chunk)
        self._meter.sent(10 * result.counts.processed)
        return result


class Told:
    def __init__(self) -> None:
        self.of: list[tuple[Side, Traffic]] = []
        self.steps: list[Step] = []

    def traffic(self, side: Side, grown: Traffic) -> None:
        self.of.append((side, grown))

    @contextmanager
    def step(self, step: Step) -> Iterator[Span]:
        self.steps.append(step)
        yield Unobserved()


def index(target: MemoryTarget, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six documents, two a chunk."""
    source = MemorySource(now_us=0)
    with source.transaction() as transaction:
        for key in "abcdef":
            transaction.put({"id": key, "title": key})
    source.now_us += 1
    with source.open() as read, target.open("products") as session:
        schema = read.schema()
        session.create_first("g1", schema)
        plain = session.writer

        def writer(generation: str, schema: Schema, format: Format) -> AbstractContextManager[Writer]:
            with plain(generation, schema, format) as inner:
                return nullcontext(Sending(inner))

        monkeypatch.setattr(session, "writer", writer)
        batch = Batch("products", "g1", 0, 1, Window(None, Position(read.survey().horizon.cursor or "")), rows=6)
        index_batch(
            batch,
            source=read,
            target=session,
            format=Format.ROWS,
            chunk_rows=2,
            max_failures=0,
            progress=Progress(batch, "incremental", MemoryReporter()),
            resume=MemoryResumeLog(),
            observer=told,
        )


def test_traffic_is_told_chunk_by_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    index(MemoryTarget(), told, monkeypatch)
    assert told.of == [(Side.TARGET, Traffic(20, 1, 0.5))] * 3


def test_so_is_that_of_a_chunk_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two chunks are acknowledged. The third one has met a target without room before it is lost, and that is told too."""
    told, target = Told(), MemoryTarget()
    target.crash_after(2)
    with pytest.raises(TransientError):
        index(target, told, monkeypatch)
    assert told.of == [*[(Side.TARGET, Traffic(20, 1, 0.5))] * 2, (Side.TARGET, Traffic(0, 1, 0.5))]


def test_pauses_that_overlap_are_one() -> None:
    """Three threads are pushed back at the same moment, each asked to wait for four seconds."""
    meter = Meter()
    pace = Pace(lambda seconds: None, lambda: 100.0, meter=meter)
    for _ in range(3):
        pace.pushed_back("no room", 0, "4", 1000)
    assert meter.traffic == Traffic(0, 3, pytest.approx(4.0))
