"""Spans of a stream's work, through OpenTelemetry's API: no-ops unless Airflow's tracing is on (``[traces] otel_on``).

worker.extract            worker.index[0]                     worker.checkpoint      Airflow's, one trace for a run
  reindex.plan  <--link--   reindex.batch                       reindex.run
                              reindex.read  reindex.write ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.observability import trace
from opentelemetry import context as current
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from airflow_reindex_provider.core.observing import Side, Span, Step, Traffic

if TYPE_CHECKING:
    from airflow_reindex_provider.core.model import Batch

_TRACE = "trace"
"""Beside a batch's own fields in what a planning task returns: the context of its span."""
_tracer = trace.get_tracer("airflow_reindex_provider")
_contexts = TraceContextTextMapPropagator()


class _Figures:
    def __init__(self, span: Any) -> None:
        self._span = span

    def set(self, **figures: int) -> None:
        self._span.set_attributes(_named(figures))


class Observed:
    """An ``Observer`` whose steps are spans of the one that is current as it is made, and whose traffic is measured."""

    def __init__(self, traffic: Callable[[Side, Traffic], None]) -> None:
        """:param traffic: measures it."""
        self._traffic = traffic
        # Threads begin without a context of their own.
        self._context = current.get_current()

    def traffic(self, side: Side, grown: Traffic) -> None:
        self._traffic(side, grown)

    @contextmanager
    def step(self, step: Step) -> Iterator[Span]:
        with _tracer.start_as_current_span(f"reindex.{step}", context=self._context) as span:
            yield _Figures(span)


@contextmanager
def planning() -> Iterator[Any]:
    """The span of a plan, whose batches link to it: see :func:`planned` and :func:`batches`."""
    with _tracer.start_as_current_span("reindex.plan") as span:
        yield span


def planned(span: Any, plan: Any) -> None:
    """What was planned; :func:`planning` has given the span."""
    figures = {"stream": plan.stream, "mode": str(plan.mode), "rows": plan.rows, "batches": len(plan.batches)}
    span.set_attributes(_named({**figures, "generation": getattr(plan, "generation", None)}))


def batches(span: Any, batches: tuple[Batch, ...]) -> list[dict[str, Any]]:
    """The batches as JSON, each with the place of the plan in the trace, where there is one."""
    carrier: dict[str, str] = {}
    if span.is_recording():
        _contexts.inject(carrier, context=trace.set_span_in_context(span))
    told = {_TRACE: carrier} if carrier else {}
    return [batch.to_json() | told for batch in batches]


@contextmanager
def indexing(batch: Batch, stream: str, planned: Mapping[str, Any] = {}) -> Iterator[Any]:
    """The span of a batch. :param planned: the batch as the planning task returned it."""
    plan = trace.get_current_span(_contexts.extract(planned.get(_TRACE) or {}, context=current.Context()))
    links = [trace.Link(plan.get_span_context())] if plan.get_span_context().is_valid else []
    figures = {"stream": stream, "mode": str(batch.mode), "generation": batch.generation}
    attributes = _named({**figures, "batch": batch.number, "batches": batch.of, "rows": batch.rows})
    with _tracer.start_as_current_span("reindex.batch", links=links, attributes=attributes) as span:
        yield span


def counted(span: Any, counts: Mapping[str, int], chunks: int) -> None:
    """What became of a batch."""
    span.set_attributes(_named({**counts, "chunks": chunks}))


def run(stream: str, mode: str, report: Mapping[str, Any], began: datetime | None) -> None:
    """A run that is closed: a span from its start to now, with the sums of its report."""
    if not trace.get_current_span().is_recording():
        return
    figures = {name: value for name, value in report.items() if isinstance(value, (int, str)) and name != "stream"}
    span = _tracer.start_span(
        "reindex.run",
        attributes=_named({**figures, "stream": stream, "mode": mode}),
        start_time=None if began is None else round(began.timestamp() * 1e9),
    )
    if report.get("status") == "failed":
        span.set_status(trace.StatusCode.ERROR)
    span.end()


def _named(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {f"reindex.{name}": value for name, value in figures.items() if value is not None}
