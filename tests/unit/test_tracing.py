"""Spans of a stream's work, as a real OTLP receiver gets them from OpenTelemetry's SDK."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from otlp_receiver import OtlpReceiver, figures

from airflow_reindex_provider import Stream
from airflow_reindex_provider.core.errors import TransientError
from airflow_reindex_provider.core.model import Batch, BatchResult, Chunk, Document, Format, Mode, Position
from airflow_reindex_provider.core.opened import Opened
from airflow_reindex_provider.core.planning import make_plan
from airflow_reindex_provider.core.progress import Progress
from airflow_reindex_provider.core.sweeping.allowing import allow
from airflow_reindex_provider.core.windows import Request
from airflow_reindex_provider.operators import tracing
from airflow_reindex_provider.operators.index import index_into
from airflow_reindex_provider.operators.measuring import Measured
from airflow_reindex_provider.operators.sweeping import compare_range, repair_range, shown_as
from airflow_reindex_provider.operators.touched import Touched
from airflow_reindex_provider.testing.memory import (
    MemoryCheckpoint,
    MemoryReporter,
    MemoryResumeLog,
    MemorySource,
    MemoryTarget,
)
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper


@dataclass
class Run:
    """A stream of ten rows, two a chunk, and its tasks: each a span in the trace of the run, as Airflow makes them."""

    receiver: OtlpReceiver
    provider: TracerProvider
    stream: Stream

    def __post_init__(self) -> None:
        self.tracer = self.provider.get_tracer("airflow")
        self.dag_run = self.tracer.start_span("dag_run")

    def task(self, name: str) -> Any:
        return self.tracer.start_as_current_span(name, context=tracing.trace.set_span_in_context(self.dag_run))

    def plan(self) -> list[dict[str, Any]]:
        stream = self.stream
        with ExitStack() as stack:
            stack.enter_context(self.task("worker.extract"))
            span = stack.enter_context(tracing.planning(stream.name, Mode.INCREMENTAL))
            source = stack.enter_context(stream.source.open())
            target = stack.enter_context(stream.target.open(stream.name))
            plan = make_plan(
                Opened(stream.name, source, target, stream.checkpoint), Request(Mode.INCREMENTAL), new_generation="g1"
            )
            tracing.planned(span, plan)
        # As the operators do: the span has ended.
        return tracing.batches(span, plan.batches)

    def index(self, planned: dict[str, Any]) -> BatchResult:
        stream, batch = self.stream, Batch.from_json(planned)
        with self.task("worker.index"), stream.source.open() as source, stream.target.open(stream.name) as target:
            return index_into(
                stream,
                batch,
                source=source,
                target=target,
                progress=Progress(batch, "incremental", MemoryReporter()),
                resume=MemoryResumeLog(),
                should_stop=lambda: False,
                pace=lambda documents: None,
                measured=Measured(stream, "incremental"),
                planned=planned,
            )

    def spans(self) -> dict[str, list[Any]]:
        """All that came, by name."""
        self.provider.force_flush()
        found: dict[str, list[Any]] = {}
        for span in self.receiver.spans:
            found.setdefault(span.name, []).append(span)
        return found


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    source = MemorySource(now_us=0)
    with source.transaction() as transaction:
        for key in "abcdefghij":
            transaction.put({"id": key, "title": key})
    source.now_us += 1
    stream = Stream(
        name="products",
        source=source,
        target=MemoryTarget(chunk_rows=2),
        checkpoint=MemoryCheckpoint(),
        transform=lambda row: row,
    )
    provider = TracerProvider()
    with OtlpReceiver() as receiver:
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(receiver.endpoint)))
        monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("ours"))
        yield Run(receiver, provider, stream)
        provider.shutdown()


def test_a_batch_and_its_steps(run: Run) -> None:
    """One trace from the plan to the last write; the batch links to its plan, and has each step, whatever thread it is in."""
    (planned,) = run.plan()
    run.index(planned)

    spans = run.spans()
    (plan,), (batch,) = spans["reindex.plan"], spans["reindex.batch"]
    assert {span.trace_id for of_name in spans.values() for span in of_name} == {plan.trace_id}
    assert [(link.trace_id, link.span_id) for link in batch.links] == [(plan.trace_id, plan.span_id)]
    assert figures(plan) == {"stream": "products", "mode": "incremental", "rows": 10, "batches": 1, "generation": "g1"}
    told = figures(batch)
    assert (told["stream"], told["generation"], told["batch"], told["created"], told["chunks"]) == (
        "products",
        "g1",
        0,
        10,
        5,
    )
    assert batch.parent_span_id == spans["worker.index"][0].span_id
    steps = {
        name: of_name
        for name, of_name in spans.items()
        if name not in ("reindex.plan", "reindex.batch") and "reindex" in name
    }
    # The last read finds that there is no more.
    assert {name: len(of_name) for name, of_name in steps.items()} == {
        "reindex.read": 6,
        "reindex.transform": 5,
        "reindex.write": 5,
    }
    assert {span.parent_span_id for of_name in steps.values() for span in of_name} == {batch.span_id}
    assert [figures(span) for span in steps["reindex.write"]] == [{"documents": 2, "rejected": 0}] * 5


def test_a_batch_that_fails_is_an_error(run: Run) -> None:
    """So is the write in which it did."""
    (planned,) = run.plan()
    run.stream.target.crash_after(2)  # type: ignore[attr-defined]  # it is a MemoryTarget
    with pytest.raises(TransientError):
        run.index(planned)
    spans = run.spans()
    error = tracing.trace.StatusCode.ERROR.value
    assert spans["reindex.batch"][0].status.code == error
    assert [span.status.code == error for span in spans["reindex.write"]] == [False, False, True]


def test_so_is_one_that_airflow_ends(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that takes too long is ended by something that is no Exception."""

    def too_long(row: Any) -> Any:
        raise AirflowTaskTimeout("too long")

    monkeypatch.setattr(run, "stream", replace(run.stream, transform=too_long))
    (planned,) = run.plan()
    with pytest.raises(AirflowTaskTimeout):
        run.index(planned)
    spans = run.spans()
    failed = [spans["reindex.batch"][0], spans["reindex.transform"][0]]
    assert [span.status.code for span in failed] == [tracing.trace.StatusCode.ERROR.value] * 2
    assert "AirflowTaskTimeout: too long" in failed[0].status.message


def test_a_sweep_and_its_ranges(run: Run) -> None:
    """The comparison and the repair of a range link to the plan; what is written is within the repair."""
    stream = run.stream
    by_hand = Runner(source=stream.source, target=stream.target, store=stream.checkpoint, stream=stream.name)
    by_hand.run()
    with stream.target.open(stream.name) as target, stream.source.open() as source:
        (live,) = (g.name for g in target.generations() if g.live)
        with target.writer(live, source.schema(), Format.ROWS) as writer:
            orphan = Document(("z",), 0, {"id": "z", "title": "nobody's", "updated_at": None})
            writer.write(Chunk(Position("1"), Format.ROWS, [orphan]))
    with run.task("worker.plan"), tracing.planning(stream.name, Mode.SWEEP) as span:
        plan, (part,) = Sweeper(run=by_hand, max_delete_fraction=1.0).plan()
        planned = tracing.planned_sweep(span, plan, [part])
    shared: dict[str, Any] = {"should_stop": lambda: False, "touched": Touched(), "planned": planned}
    progress = Progress(shown_as(plan, part.rows), "sweep", MemoryReporter())
    with run.task("worker.compare"):
        report = compare_range(stream, plan, part, progress=progress, **shared)
    (job,) = allow(plan, [(part, report)])
    progress = Progress(shown_as(plan, job.repairs), "sweep", MemoryReporter())
    with run.task("worker.repair"):
        repair_range(stream, plan, job, progress=progress, traffic=lambda side, grown: None, **shared)

    spans = run.spans()
    (told,), (compare,), (repair,) = (spans[f"reindex.{name}"] for name in ("plan", "compare", "repair"))
    assert [link.span_id for span in (compare, repair) for link in span.links] == [told.span_id] * 2
    assert {"orphaned": 1, "missing": 0}.items() <= figures(compare).items()
    assert {"deleted": 1, "mode": "sweep", "batches": 1}.items() <= figures(repair).items()
    assert [span.parent_span_id for span in spans["reindex.write"] if span.trace_id == told.trace_id] == [
        repair.span_id
    ]


def test_a_run_is_a_span_from_its_start(run: Run) -> None:
    began = datetime.now(UTC) - timedelta(minutes=5)
    with run.task("worker.checkpoint"):
        tracing.run("products", "incremental", {"status": "completed", "created": 10, "window": {}}, began)
    (span,) = run.spans()["reindex.run"]
    assert figures(span) == {"stream": "products", "mode": "incremental", "status": "completed", "created": 10}
    assert span.start_time_unix_nano == round(began.timestamp() * 1e9)
    assert span.end_time_unix_nano - span.start_time_unix_nano >= 300 * 1e9


def test_without_tracing_nothing_is_put_beside_a_batch(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_tracer", tracing.trace.NoOpTracer())
    monkeypatch.setattr(run, "tracer", tracing.trace.NoOpTracer())
    run.dag_run = tracing.trace.INVALID_SPAN
    (planned,) = run.plan()
    assert planned == Batch.from_json(planned).to_json()
    assert run.index(planned).counts.created == 10
    assert run.spans().keys() <= {"dag_run"}
