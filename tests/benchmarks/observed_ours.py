"""One batch into Postgres again and again, by turns with nothing told, with what Airflow tells of any task, and with ours."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from airflow.providers.openlineage.extractors.base import OperatorLineage
from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
from airflow.sdk._shared.observability.metrics.statsd_logger import SafeStatsdLogger
from airflow.sdk.observability import stats, trace
from openlineage.client.client import OpenLineageClient
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
from openlineage.client.transport.file import FileConfig, FileTransport
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from statsd import StatsClient

from airflow_reindex_provider.core.model import Batch, Position, Window
from airflow_reindex_provider.operators import openlineage, tracing  # noqa: F401 - the first by lineage otherwise
from airflow_reindex_provider.operators.index import IndexBatchOperator
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.postgres import PostgresTarget
from tests.benchmarks import data
from tests.benchmarks.meter import answer
from tests.benchmarks.task import SOURCE, STAMP, RunningTask

TURNS = 12
"""Of each. The fastest one counts: whatever else the machine does makes one slower and none faster."""


_Way = Callable[[IndexBatchOperator, Callable[[], Any]], None]


def unchanged(document: Mapping[str, Any]) -> Mapping[str, Any]:
    return document


class Telling:
    """As Airflow tells of a task, with all of it on."""

    def __init__(self, folder: Path, endpoint: str, statsd_port: int) -> None:
        self._provider = TracerProvider()
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
        self._statsd = statsd_port
        events = FileConfig(log_file_path=str(folder / "events"), append=True)
        self._lineage = OpenLineageClient(transport=FileTransport(events))

    def ours(self, operator: IndexBatchOperator, work: Callable[[], Any]) -> None:
        tracing._tracer = self._provider.get_tracer("ours")
        stats.initialize(factory=self._logger, export_legacy_names=False)
        self._task(
            work, operator.get_openlineage_facets_on_start, lambda: operator.get_openlineage_facets_on_complete(None)
        )

    def of_any_task(self, operator: IndexBatchOperator, work: Callable[[], Any]) -> None:
        """Its span, its events without datasets, and one delivery of both. Its metrics are left out: the comparison is to ours'
        disadvantage."""
        _tell_nothing()
        self._task(work, OperatorLineage, OperatorLineage)

    def _task(self, work: Callable[[], Any], start: Callable[[], Any], complete: Callable[[], Any]) -> None:
        with self._provider.get_tracer("airflow").start_as_current_span("worker.index"):
            self._emit(RunState.START, start())
            work()
            self._emit(RunState.COMPLETE, complete())
        self._provider.force_flush()

    def _logger(self) -> SafeStatsdLogger:
        return SafeStatsdLogger(StatsClient(port=self._statsd), statsd_influxdb_enabled=True)

    def _emit(self, state: RunState, lineage: Any) -> None:
        self._lineage.emit(
            RunEvent(
                eventType=state,
                eventTime=datetime.now(UTC).isoformat(),
                run=Run(str(uuid4())),
                job=Job("bench", "index"),
                producer="https://example.com/bench",
                inputs=lineage.inputs,
                outputs=lineage.outputs,
            )
        )


def alone(operator: IndexBatchOperator, work: Callable[[], Any]) -> None:
    _tell_nothing()
    work()


def _tell_nothing() -> None:
    tracing._tracer = trace.NoOpTracer()
    stats.initialize(factory=NoStatsLogger, export_legacy_names=False)


def main(form: str, rows: int, endpoint: str, statsd_port: int) -> None:
    stream = Stream(
        name="observed",
        source=SOURCE,
        target=PostgresTarget("bench", index="public.observed"),
        transform=unchanged if form == "rows" else None,
    )
    with tempfile.TemporaryDirectory() as folder:
        telling = Telling(Path(folder), endpoint, statsd_port)
        ways: deque[tuple[str, _Way]] = deque(
            (("alone", alone), ("any_task", telling.of_any_task), ("ours", telling.ours))
        )
        took: dict[str, list[tuple[int, float]]] = {name: [] for name, _ in ways}
        for turn in range(TURNS + 1):
            for name, tell in ways:
                once = _once(stream, rows, tell)
                # The first of each is not counted: it imports, and opens what stays open.
                if turn:
                    took[name].append(once)
            ways.rotate()
        (told, *_) = Path(folder).glob("events*")
        assert len(told.read_text().splitlines()) == 4 * (TURNS + 1)
    answer(tasks=TURNS + 1, **_fastest(took))


def _fastest(took: Mapping[str, Sequence[tuple[int, float]]]) -> dict[str, float]:
    """Of the tasks that called Airflow equally often: progress is reported once a second, and whether a task just reaches a
    second, and makes three calls more, would decide everything."""
    calls = min(calls for runs in took.values() for calls, _ in runs)
    return {name: min(seconds for made, seconds in runs if made == calls) for name, runs in took.items()}


def _once(stream: Stream, rows: int, tell: _Way) -> tuple[int, float]:
    """How often one task into an empty index called Airflow, and its seconds."""
    target = stream.target
    generation = target.generation_name(STAMP)
    with SOURCE.open() as source, target.open(stream.name) as session:
        session.create_first(generation, source.schema())
    start, end = data.first(rows)
    batch = Batch(stream.name, generation, 0, 1, Window(Position(start), Position(end)), rows)
    operator = IndexBatchOperator(task_id=RunningTask.task_id, stream=stream, batch=batch.to_json())
    with tempfile.TemporaryDirectory() as folder:
        task = RunningTask(Path(folder))
        context: Any = {"ti": task, "task_state_store": task}
        began = time.perf_counter()
        tell(operator, lambda: operator.execute(context))
        seconds = time.perf_counter() - began
        calls = task.calls
        assert json.loads((Path(folder) / "reindex_progress").read_text())["created"] == rows
    with target.open(stream.name) as session:
        session.drop(generation)
    return calls, seconds


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
