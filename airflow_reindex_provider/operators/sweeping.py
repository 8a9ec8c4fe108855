"""The steps of a sweep, for the tasks that take one of them each and for the one that takes them all for a group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from airflow_reindex_provider.core.errors import IndexingStoppedError
from airflow_reindex_provider.core.model import Batch, Counts, Mode, Position, Window
from airflow_reindex_provider.core.observing import Side, Traffic
from airflow_reindex_provider.core.progress import Progress, Status
from airflow_reindex_provider.core.sweeping.comparing import opened
from airflow_reindex_provider.core.sweeping.records import Difference, RepairJob, SweepPlan, SweepRange, SweepReport
from airflow_reindex_provider.core.sweeping.repairing import Repair, RepairResult
from airflow_reindex_provider.operators import tracing
from airflow_reindex_provider.operators.touched import Touched
from airflow_reindex_provider.stream import Stream

Compared = Sequence[tuple[SweepRange, SweepReport]]


def shown_as(plan: SweepPlan, total: int, *, number: int = 0, of: int = 1) -> Batch:
    """What progress is counted for."""
    return Batch(plan.stream, plan.generation, number, of, Window(None, Position(plan.bound)), total, mode=Mode.SWEEP)


@contextmanager
def shown(progress: Progress) -> Iterator[None]:
    """Of work that says nothing of its own begin and end."""
    progress.start()
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, IndexingStoppedError)
        progress.finish(Status.CANCELLED if stopped else Status.FAILED, str(error)[:300])
        raise
    progress.finish(Status.COMPLETED)


def compare_range(
    stream: Stream,
    plan: SweepPlan,
    part: SweepRange,
    *,
    progress: Progress,
    should_stop: Callable[[], bool],
    touched: Touched,
    planned: Mapping[str, Any],
) -> SweepReport:
    """:param planned: of ``tracing.planned_sweep``. :raises IndexingStoppedError: asked to stop."""
    report = SweepReport()
    with (
        tracing.sweeping("compare", plan, part, planned) as span,
        opened(plan, source=stream.source, target=stream.target, transform=stream.transform) as comparison,
    ):
        touched.schema = comparison.schema
        for rows, found in comparison.report(part.keys, part.rows):
            report = report + found
            progress.add(Counts(noops=rows))
            if should_stop():
                raise IndexingStoppedError("Stopped; a retry compares it anew.")
        tracing.counted(span, {"listed": report.listed, **{str(d): report.count(d) for d in Difference}})
    return report


def repair_range(
    stream: Stream,
    plan: SweepPlan,
    job: RepairJob,
    *,
    progress: Progress,
    should_stop: Callable[[], bool],
    traffic: Callable[[Side, Traffic], None],
    touched: Touched,
    planned: Mapping[str, Any],
) -> RepairResult:
    """:param traffic: measures what goes over the wire. :param planned: of ``tracing.planned_sweep``."""
    touched.follow(progress)
    with (
        tracing.sweeping("repair", plan, job.range, planned) as span,
        opened(plan, source=stream.source, target=stream.target, transform=stream.transform) as comparison,
    ):
        touched.schema = comparison.schema
        result = Repair(
            plan=plan,
            comparison=comparison,
            format=stream.format,
            chunk_rows=stream.target.chunk_rows,
            max_failures=stream.max_failures,
            progress=progress,
            transform=stream.transform,
            embed=stream.embed,
            should_stop=should_stop,
            observer=tracing.Observed(traffic),
        ).run(job)
        tracing.counted(span, {**result.counts.to_json(), "spared": result.spared})
        return result


def sums(rows: int, compared: Compared, repaired: Sequence[RepairResult]) -> dict[str, Any]:
    """What was found and done, under the names of the report."""
    found = sum((report for _, report in compared), SweepReport())
    done = sum(repaired, RepairResult())
    return {
        "rows": rows,
        "indexed": found.indexed,
        "listed": found.listed,
        **{str(d): found.count(d) for d in Difference},
        "examples": found.to_json()["examples"],
        "repairs": done.counts.processed,
        **done.counts.to_json(),
        "spared": done.spared,
        "rejected": [rejection.to_json() for rejection in done.rejected[:10]],
    }
