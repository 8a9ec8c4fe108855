"""What is told of a run that is tried again, of one that fails and of a sweep: at a real StatsD listener, a real OTLP
receiver, and through OpenLineage's file transport. All that the tables of the docs say, and nothing twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lineage_events import ended, written
from opentelemetry.trace import StatusCode
from otlp_receiver import OtlpReceiver, figures
from statsd_listener import StatsdListener
from streams_under_test import TIMEOUT_S, Run, StreamUnderTest, until

from airflow_reindex_provider.core.metrics import METRICS

DOCS = Path(__file__).parents[2] / "docs"
OF_ENGINES_ALONE = {"reindex.push_backs", "reindex.back_off"}
"""A Postgres does not push back."""
OF_VECTORS_ALONE = {"reindex.embed"}


@dataclass
class Told:
    """A run whose batch fails in the middle of its rows and is tried again, with a document that is refused; one that fails while
    it is planned; and a sweep that finds a document missing and one orphaned."""

    items: StreamUnderTest
    run: Run
    failed: Run
    sweep: Run


def happened(items: StreamUnderTest) -> Told:
    items.insert(range(50), updated_at="now() - interval '1 h' + id * interval '1 s'")
    items.at_source("UPDATE {} SET title = 'bad' WHERE id = 20")
    items.at_source("UPDATE {} SET title = 'trip' WHERE id = 35")
    items.pull_brake()
    run = items.run()
    failed = items.start(window_start="no time").end("failed")
    items.at_target("DELETE FROM {} WHERE id = 7")
    items.at_source("DELETE FROM {} WHERE id = 11")
    dag_id = f"sweep_{items.name}"
    sweep = Run(items.airflow, dag_id, items.airflow.trigger(dag_id))
    items.airflow.wait_for_run(dag_id, sweep.run_id, timeout_s=TIMEOUT_S)
    return Told(items, run, failed, sweep)


@pytest.mark.overlaps
def test_all_that_the_docs_say_and_nothing_twice(
    stream: Callable[..., StreamUnderTest], metrics: StatsdListener, traces: OtlpReceiver, lineage: Path
) -> None:
    told = happened(stream("tripped"))
    its_metrics(told, metrics)
    its_traces(told, traces)
    its_lineage(told, lineage)


def its_metrics(told: Told, metrics: StatsdListener) -> None:
    def look() -> list[Any]:
        found = metrics.of_stream(told.items.name)
        closed = [s for s in found if s.name == "reindex.run.duration"]
        return found if len(closed) == 2 and any(s.name == "reindex.failures" for s in found) else []

    samples = until(look, "the metrics")
    for sample in samples:
        sample.require_of_the_table()
        assert sample.tags["target"] == "postgres"
    assert {sample.name for sample in samples} == {metric.name for metric in METRICS} - OF_ENGINES_ALONE

    def of(mode: str, name: str) -> list[tuple[str, ...]]:
        return sorted(s.told for s in samples if s.tags["mode"] == mode and s.name == name)

    assert of("incremental", "reindex.documents") == [("created", "49"), ("failures", "1")]
    assert of("incremental", "reindex.runs") == [("completed", "1")]
    assert of("incremental", "reindex.retries") == [("1",)]
    assert len(of("incremental", "reindex.batch.duration")) == len(of("incremental", "reindex.run.duration")) == 1
    # Its planning task, and the closing one, which finds no plan.
    assert 1 <= len(of("incremental", "reindex.failures")) <= 2
    assert of("incremental", "reindex.parked") == [("1",)]
    assert of("incremental", "reindex.documents.live") == [("49",)]
    assert of("incremental", "reindex.generations") == [("1",)]
    # The texts of its fifty rows, once, and a little more: nothing of it is compressed.
    sent = sum(float(value) for (value,) in of("incremental", "reindex.sent"))
    assert 49 * len("some") < sent < 50 * 200
    assert 0 < float(of("incremental", "reindex.horizon.held")[0][0]) < TIMEOUT_S
    assert 0 < float(of("incremental", "reindex.freshness")[0][0]) < TIMEOUT_S
    assert of("sweep", "reindex.runs") == [("completed", "1")]
    assert of("sweep", "reindex.documents") == [("created", "1"), ("deleted", "1"), ("failures", "1")]
    differences = {"missing": "2", "stale": "0", "changed": "0", "orphaned": "1", "newer": "0"}
    assert of("sweep", "reindex.sweep.differences") == sorted(differences.items())
    assert not of("sweep", "reindex.retries")


def its_traces(told: Told, traces: OtlpReceiver) -> None:
    def of(run: Run, closed_by: str) -> list[Any]:
        """All spans of the trace that the run's tasks are in: there is one."""

        def look() -> list[Any]:
            mine = [s for s in traces.spans if attribute(s, "airflow.dag_run.run_id") == run.run_id]
            mine = [s for s in mine if attribute(s, "airflow.dag_id") == run.dag_id]
            return mine if any(s.name == f"worker.{closed_by}" for s in mine) else []

        (trace,) = {span.trace_id for span in until(look, f"the spans of {run.dag_id}")}
        return [span for span in traces.spans if span.trace_id == trace]

    run, failed, sweep = of(told.run, "checkpoint"), of(told.failed, "checkpoint"), of(told.sweep, "report")
    assert len({spans[0].trace_id for spans in (run, failed, sweep)}) == 3
    ours = [span.name for span in (*run, *failed, *sweep) if span.name.startswith("reindex.")]
    documented = set(re.findall(r"^\| `(reindex\.\w+)` \|", (DOCS / "tracing.md").read_text(), re.MULTILINE))
    assert set(ours) == documented - OF_VECTORS_ALONE

    assert named(run) == {"reindex.plan": 1, "reindex.batch": 2, "reindex.run": 1}
    (plan,), (first, second) = spans_of(run, "reindex.plan"), spans_of(run, "reindex.batch")
    assert parent(plan, run).name == "worker.extract"
    assert [parent(span, run).name for span in (first, second)] == ["worker.index[0]"] * 2
    assert [attribute(parent(s, run), "airflow.task_instance.try_number") for s in (first, second)] == [1, 2]
    assert [is_error(first), is_error(second)] == [True, False]
    assert [link.span_id for span in (first, second) for link in span.links] == [plan.span_id] * 2
    # What the first try has written, the second one does not write again.
    writes = spans_of(run, "reindex.write")
    assert sum(figures(span)["documents"] for span in writes if not is_error(span)) == 49
    assert {span.parent_span_id for span in writes} == {first.span_id, second.span_id}
    (sums,) = spans_of(run, "reindex.run")
    assert (figures(sums)["created"], figures(sums)["failures"], figures(sums)["status"]) == (49, 1, "completed")

    assert named(failed) == {"reindex.plan": 1}
    assert is_error(spans_of(failed, "reindex.plan")[0])
    assert named(sweep) == {"reindex.plan": 1, "reindex.compare": 1, "reindex.repair": 1, "reindex.run": 1}
    (planned,), (compare,) = spans_of(sweep, "reindex.plan"), spans_of(sweep, "reindex.compare")
    (repair,) = spans_of(sweep, "reindex.repair")
    assert [link.span_id for span in (compare, repair) for link in span.links] == [planned.span_id] * 2
    assert (figures(compare)["missing"], figures(compare)["orphaned"]) == (2, 1)
    assert (figures(repair)["created"], figures(repair)["deleted"], figures(repair)["failures"]) == (1, 1, 1)
    assert {span.parent_span_id for span in spans_of(sweep, "reindex.write")} == {repair.span_id}
    for spans in (run, failed, sweep):
        of_stream = [span for name in named(spans) for span in spans_of(spans, name)]
        assert {figures(span)["stream"] for span in of_stream} == {told.items.name}


def its_lineage(told: Told, lineage: Path) -> None:
    items = told.items
    events = ended(lineage, items.dag_id, runs=2)
    assert [event["eventType"] for event in events["index"]] == ["FAIL", "COMPLETE"]
    first, second = (written(event) for event in events["index"])
    assert first + second == 49
    assert 10 <= first <= 30
    assert len({event["run"]["runId"] for event in events["index"]}) == 2
    assert sorted(event["eventType"] for event in events["extract"]) == ["COMPLETE", "FAIL"]
    assert all("outputStatistics" not in event["outputs"][0].get("outputFacets", {}) for event in events["checkpoint"])

    swept = ended(lineage, told.sweep.dag_id)
    assert [len(swept[task]) for task in ("plan", "compare", "allow", "repair", "report")] == [1] * 5
    table, index = f"shop.public.{items.name}", f"search.public.{items.name}_index"
    assert [d["name"] for d in swept["plan"][0]["inputs"]] == [table]
    assert [d["name"] for d in swept["compare"][0]["inputs"]] == [table, index]
    assert [d["name"] for d in swept["repair"][0]["inputs"]] == [table]
    assert written(swept["repair"][0]) == 2
    assert [d["name"] for d in swept["repair"][0]["outputs"]] == [index]


def attribute(span: Any, name: str) -> Any:
    return next((getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes if a.key == name), None)


def is_error(span: Any) -> bool:
    return bool(span.status.code == StatusCode.ERROR.value)


def named(spans: list[Any]) -> dict[str, int]:
    """How many there are of each of ours that is no step."""
    steps = ("reindex.read", "reindex.transform", "reindex.embed", "reindex.write")
    return Counter(s.name for s in spans if s.name.startswith("reindex.") and s.name not in steps)


def spans_of(spans: list[Any], name: str) -> list[Any]:
    """In the order in which they began."""
    return sorted((span for span in spans if span.name == name), key=lambda span: int(span.start_time_unix_nano))


def parent(span: Any, spans: list[Any]) -> Any:
    return next(other for other in spans if other.span_id == span.parent_span_id)
