"""Spans of a stream's work, through OpenTelemetry's API: no-ops unless Airflow's tracing is on (``[traces] otel_on``).

worker.extract            worker.index[0]                     worker.checkpoint      Airflow's, one trace for a run
  reindex.plan  <--link--   reindex.batch                       reindex.run
                              reindex.read  reindex.write ...

worker.plan               worker.compare[0]   worker.repair[0]      worker.report
  reindex.plan  <--link--   reindex.compare     reindex.repair        reindex.run
                                                  reindex.read  reindex.write ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.observability import trace
from opentelemetry import context as current
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from airflow_reindex_provider.core.model import Mode
from airflow_reindex_provider.core.observing import Side, Span, Step, Traffic

if TYPE_CHECKING:
    from airflow_reindex_provider.core.model import Batch
    from airflow_reindex_provider.core.sweeping.records import SweepPlan, SweepRange

TRACE = "trace"
"""Beside the fields of a batch, or of a sweep's plan, in what a planning task gives to the others: the context of its span."""
_tracer = trace.get_tracer("airflow_reindex_provider")
_contexts = TraceContextTextMapPropagator()


@contextmanager
def _spanning(name: str, **options: Any) -> Iterator[Any]:
    with _tracer.start_as_current_span(name, **options) as span:
        try:
            yield span
        except (Exception, GeneratorExit):
            raise
        except BaseException as error:
            # Airflow's own of a task that takes too long, or is to end: OpenTelemetry takes these for no error.
            span.record_exception(error)
            span.set_status(trace.StatusCode.ERROR, f"{type(error).__name__}: {error}")
            raise


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
        with _spanning(f"reindex.{step}", context=self._context) as span:
            yield _Figures(span)


@contextmanager
def planning(stream: str, mode: Mode) -> Iterator[Any]:
    """The span of a plan, whose batches link to it: see :func:`planned` and :func:`batches`.

    :param mode: as far as it is known before there is a plan."""
    with _spanning("reindex.plan", attributes=_named({"stream": stream, "mode": str(mode)})) as span:
        yield span


def planned(span: Any, plan: Any) -> None:
    """What was planned; :func:`planning` has given the span."""
    figures = {"mode": str(plan.mode), "rows": plan.rows, "batches": len(plan.batches)}
    span.set_attributes(_named({**figures, "generation": getattr(plan, "generation", None)}))


def planned_sweep(span: Any, plan: SweepPlan, ranges: Sequence[SweepRange]) -> dict[str, Any]:
    """The same of a sweep; gives what to put beside the plan's JSON for :func:`sweeping`."""
    rows = sum(part.rows for part in ranges)
    span.set_attributes(_named({"generation": plan.generation, "rows": rows, "batches": len(ranges)}))
    return _place(span)


def batches(span: Any, batches: tuple[Batch, ...]) -> list[dict[str, Any]]:
    """The batches as JSON, each with the place of the plan in the trace, where there is one."""
    told = _place(span)
    return [batch.to_json() | told for batch in batches]


@contextmanager
def indexing(batch: Batch, stream: str, planned: Mapping[str, Any] = {}) -> Iterator[Any]:
    """The span of a batch. :param planned: the batch as the planning task returned it."""
    figures = {"stream": stream, "mode": str(batch.mode), "generation": batch.generation}
    attributes = _named({**figures, "batch": batch.number, "batches": batch.of, "rows": batch.rows})
    with _spanning("reindex.batch", links=_links(planned), attributes=attributes) as span:
        yield span


@contextmanager
def sweeping(what: str, plan: SweepPlan, part: SweepRange, planned: Mapping[str, Any]) -> Iterator[Any]:
    """The span of what a sweep does with one range. :param what: ``compare`` or ``repair``.
    :param planned: what :func:`planned_sweep` gave."""
    figures = {"stream": plan.stream, "mode": str(Mode.SWEEP), "generation": plan.generation}
    attributes = _named({**figures, "batch": part.number, "batches": part.of, "rows": part.rows})
    with _spanning(f"reindex.{what}", links=_links(planned), attributes=attributes) as span:
        yield span


def counted(span: Any, counts: Mapping[str, int]) -> None:
    """What became of a batch or a range."""
    span.set_attributes(_named(counts))


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


def _place(span: Any) -> dict[str, Any]:
    carrier: dict[str, str] = {}
    # It may have ended by now, so it is not asked whether it records.
    if span.get_span_context().trace_flags.sampled:
        _contexts.inject(carrier, context=trace.set_span_in_context(span))
    return {TRACE: carrier} if carrier else {}


def _links(planned: Mapping[str, Any]) -> list[Any]:
    plan = trace.get_current_span(_contexts.extract(planned.get(TRACE) or {}, context=current.Context()))
    return [trace.Link(plan.get_span_context())] if plan.get_span_context().is_valid else []


def _named(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {f"reindex.{name}": value for name, value in figures.items() if value is not None}
