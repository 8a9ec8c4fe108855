"""The tasks of a sweep: plan, compare (mapped), allow, repair (mapped), report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import TriggerRule
from airflow.sdk.exceptions import AirflowFailException

from airflow_reindex_provider.control.carried import SWEEP
from airflow_reindex_provider.core.errors import TooManyDeletesError
from airflow_reindex_provider.core.model import Counts, Mode
from airflow_reindex_provider.core.progress import Progress
from airflow_reindex_provider.core.published import BUSY_KEY, SWEEP_KEY, SWEEP_PLAN_KEY
from airflow_reindex_provider.core.sweeping.allowing import allow
from airflow_reindex_provider.core.sweeping.planning import plan_sweep
from airflow_reindex_provider.core.sweeping.records import (
    Compare,
    Difference,
    RepairJob,
    SweepPlan,
    SweepRange,
    SweepReport,
)
from airflow_reindex_provider.core.sweeping.repairing import RepairResult
from airflow_reindex_provider.events import Event
from airflow_reindex_provider.operators import tracing
from airflow_reindex_provider.operators.base import (
    StreamOperator,
    close_progress,
    is_true,
    lease_of,
    name_instance,
    results_of,
    tell,
)
from airflow_reindex_provider.operators.conf import require_known
from airflow_reindex_provider.operators.leases import LeasingOperator, skip_if_busy
from airflow_reindex_provider.operators.measuring import Measured
from airflow_reindex_provider.operators.publishing import publish_standing
from airflow_reindex_provider.operators.sweeping import (
    Compared,
    compare_range,
    repair_range,
    shown,
    shown_as,
    sums,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_reindex_provider.core.leases import Keeper
    from airflow_reindex_provider.stream import Stream


class PlanSweepOperator(LeasingOperator):
    """Fixes the bound of a sweep, the checkpoint, and cuts the keys into ranges for a mapped :class:`CompareKeysOperator`.
    Takes the stream's lease, or waits for it, unless it is a dry run.

    Returns the ranges; what all tasks share is the XCom ``reindex_sweep_plan``.

    :param stream: what to sweep.
    :param max_delete_fraction: part of the index that may be deleted, 0 to 1. A template.
    :param report_only: compare and report, write nothing. A template.
    :param compare: ``versions``, or ``content`` as well. A template.
    """

    role = SWEEP
    mode = Mode.SWEEP
    reads_source = True
    template_fields: Sequence[str] = ("group", "wait", "max_delete_fraction", "report_only", "compare")

    def __init__(
        self,
        *,
        max_delete_fraction: float | str = 0.05,
        report_only: bool | str = False,
        compare: str = "versions",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_delete_fraction = max_delete_fraction
        self.report_only = report_only
        self.compare = compare

    def execute(self, context: Context) -> Any:
        """The ranges, as JSON."""
        require_known(context)
        if not is_true("dry_run", self.report_only):
            self.take(self.keeper(context), context)
        with tracing.planning(self.own.name, Mode.SWEEP) as span:
            plan, ranges = self.plan()
            traced = tracing.planned_sweep(span, plan, ranges)
        self.log.info(
            "Stream %r%s: %s rows in %d ranges are compared with generation %s, below the checkpoint %s.",
            plan.stream,
            ", dry run" if plan.dry_run else "",
            f"{sum(part.rows for part in ranges):,}",
            len(ranges),
            plan.generation,
            plan.bound,
        )
        tell(f"Stream {plan.stream!r}", plan.held_by, plan.warnings)
        self.touched.rows = sum(part.rows for part in ranges)
        context["ti"].xcom_push(key=SWEEP_PLAN_KEY, value=plan.to_json() | traced)
        return [part.to_json() for part in ranges]

    def keeper(self, context: Context) -> Keeper:
        return lease_of(self.own, context, Mode.SWEEP, self.lease)

    def plan(self) -> tuple[SweepPlan, tuple[SweepRange, ...]]:
        stream = self.own
        with stream.opened() as opened:
            self.touched.stream, self.touched.schema = stream, opened.source.schema()
            return plan_sweep(
                opened,
                sizes=stream.sizes,
                guarantee=stream.target.guarantee,
                route=stream.route,
                max_delete_fraction=float(self.max_delete_fraction),
                dry_run=is_true("dry_run", self.report_only),
                compare=Compare(self.compare),
            )


class SweepOperator(StreamOperator):
    """A later task of a sweep. :param plan_task_id: the planning one."""

    mode = Mode.SWEEP
    planned: Mapping[str, Any] = {}
    """As the planning task told it."""

    def __init__(self, *, stream: Stream, plan_task_id: str, **kwargs: Any) -> None:
        super().__init__(stream=stream, **kwargs)
        self.plan_task_id = plan_task_id

    def plan(self, context: Context) -> SweepPlan:
        ti: Any = context["ti"]
        skip_if_busy(ti.xcom_pull(task_ids=self.plan_task_id, key=BUSY_KEY))
        planned = ti.xcom_pull(task_ids=self.plan_task_id, key=SWEEP_PLAN_KEY)
        if not planned:
            raise AirflowFailException(
                f"Stream {self.stream.name!r}: there is no plan of a sweep, since task {self.plan_task_id!r} did not finish; its"
                " log says why."
            )
        self.planned = planned
        return SweepPlan.from_json({name: value for name, value in planned.items() if name != tracing.TRACE})

    def keeper(self, context: Context) -> Keeper:
        return lease_of(self.stream, context, Mode.SWEEP)

    def progress(self, context: Context, plan: SweepPlan, part: SweepRange, total: int) -> Progress:
        return self.track(context, shown_as(plan, total, number=part.number, of=part.of))


class CompareKeysOperator(SweepOperator):
    """Compares one range of keys; reads only. Returns what it found, and in which parts of the range.

    Live progress is the XCom ``reindex_progress``; its ``noops`` are the rows compared.

    :param part: one of the ranges of :class:`PlanSweepOperator`, as JSON.
    """

    reads_source = True
    reads_index = True

    def __init__(self, *, part: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.part = part

    def execute(self, context: Context) -> dict[str, Any]:
        plan, part = self.plan(context), SweepRange.from_json(self.part)
        name_instance(context, part.label)
        self.touched.generation = plan.generation
        progress = self.progress(context, plan, part, part.rows)
        should_stop = self.should_stop if plan.dry_run else self.should_stop_keeping(self.keeper(context))
        with shown(progress):
            report = compare_range(
                self.stream,
                plan,
                part,
                progress=progress,
                should_stop=should_stop,
                touched=self.touched,
                planned=self.planned,
            )
        self.log.info("%s: %s.", part.label, _said(report))
        return {"range": part.to_json(), **report.to_json()}


class AllowRepairsOperator(SweepOperator):
    """Adds up what the comparisons found, and returns what is to be repaired; nothing in a dry run.

    Fails where more would be deleted than ``max_delete_fraction`` of the index.

    :param compare_task_id: the mapped comparison.
    """

    def __init__(self, *, compare_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.compare_task_id = compare_task_id

    def execute(self, context: Context) -> list[dict[str, Any]]:
        plan = self.plan(context)
        try:
            jobs = allow(plan, _compared(context, self.compare_task_id))
        except TooManyDeletesError as error:
            if not plan.dry_run:
                raise
            self.log.warning("Without dry_run this sweep would fail: %s", error)
            return []
        self.log.info("%s repairs in %d ranges.", f"{sum(job.repairs for job in jobs):,}", len(jobs))
        return [] if plan.dry_run else [job.to_json() for job in jobs]


class RepairKeysOperator(SweepOperator):
    """Repairs one range: indexes what is missing or stale, deletes orphans that a look-up does not find either.

    A retry compares the range anew and does what is left. Live progress is the XCom ``reindex_progress``.

    :param job: one of those that :class:`AllowRepairsOperator` returns, as JSON.
    """

    reads_source = True
    writes_index = True

    def __init__(self, *, job: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job = job

    def execute(self, context: Context) -> dict[str, Any]:
        plan, job = self.plan(context), RepairJob.from_json(self.job)
        name_instance(context, job.label)
        self.touched.generation = plan.generation
        result = repair_range(
            self.stream,
            plan,
            job,
            progress=self.progress(context, plan, job.range, job.repairs),
            should_stop=self.should_stop_keeping(self.keeper(context)),
            traffic=Measured(self.stream, Mode.SWEEP).traffic,
            touched=self.touched,
            planned=self.planned,
        )
        for rejection in result.rejected:
            self.log.warning("Refused: key %s: %s", "/".join(rejection.key), rejection.reason)
        return result.to_json()


class SweepReportOperator(SweepOperator):
    """Closes a sweep: gives the lease back, and tells its report as the XCom ``reindex_sweep`` and a table in the log. Runs
    whatever became of the others, and fails where the sweep is not complete; else it is the event ``sweep.completed``.

    :param compare_task_id: the mapped comparison. :param repair_task_id: the mapped repair.
    :param allow_task_id: what is between them.
    """

    tells_events = True

    def __init__(self, *, compare_task_id: str, allow_task_id: str, repair_task_id: str, **kwargs: Any) -> None:
        kwargs.setdefault("trigger_rule", TriggerRule.ALL_DONE)
        super().__init__(**kwargs)
        self.compare_task_id = compare_task_id
        self.allow_task_id = allow_task_id
        self.repair_task_id = repair_task_id

    def execute(self, context: Context) -> dict[str, Any]:
        self.keeper(context).release()
        plan = self.plan(context)
        ranges: Any = context["ti"].xcom_pull(task_ids=self.plan_task_id)
        jobs: Any = context["ti"].xcom_pull(task_ids=self.allow_task_id)
        compared = _compared(context, self.compare_task_id)
        pulled: Any = context["ti"].xcom_pull(task_ids=self.repair_task_id)
        repaired = [RepairResult.from_json(value) for value in results_of(pulled)]
        done = {part.number for part, _ in compared}
        close_progress(context, self.compare_task_id, (n for n in range(len(ranges)) if n not in done))
        if len(repaired) != len(jobs or ()):
            close_progress(context, self.repair_task_id, range(len(jobs)))
        complete = len(compared) == len(ranges) and jobs is not None and len(repaired) == len(jobs)
        report = {
            **plan.to_json(),
            "status": "completed" if complete else "failed",
            "ranges": len(ranges),
            "ranges_compared": len(compared),
            "ranges_differing": sum(bool(report.differing) for _, report in compared),
            **sums(sum(part["rows"] for part in ranges), compared, repaired),
        }
        context["ti"].xcom_push(key=SWEEP_KEY, value=report)
        publish_standing(context, self.stream, plan.cursor_type, Mode.SWEEP)
        Measured(self.stream, Mode.SWEEP).run(context, report)
        self._tell(compared, sum(repaired, RepairResult()))
        if not complete:
            raise AirflowFailException(
                f"Stream {plan.stream!r}: the sweep is not complete, {len(compared)} of {len(ranges)} ranges were compared and"
                f" {len(repaired)} of {len(jobs or ())} repaired. The failed tasks' logs say why; what was repaired is kept."
            )
        names = ("dry_run", "rows", *Difference, "repairs", *Counts().to_json(), "spared")
        self.tell_event(context, Event.SWEEP_COMPLETED, **{str(name): report[name] for name in names})
        return report

    def _tell(self, compared: Compared, done: RepairResult) -> None:
        line = "%-48s %12s" + " %10s" * len(Difference)
        self.log.info(line, "range", "rows", *Difference)
        for part, report in compared:
            if report.differences:
                self.log.info(line, part.label[:48], f"{part.rows:,}", *(f"{report.count(d):,}" for d in Difference))
        found = sum((report for _, report in compared), SweepReport())
        rows = sum(part.rows for part, _ in compared)
        self.log.info(line, "all", f"{rows:,}", *(f"{found.count(d):,}" for d in Difference))
        for difference, keys in found.examples.items():
            self.log.info("First ones %s: %s", difference, ", ".join("/".join(key) for key in keys))
        counts = ", ".join(f"{n:,} {what}" for what, n in done.counts.to_json().items() if n) or "nothing to do"
        self.log.info("Repairs: %s; %d orphans had come back.", counts, done.spared)


def _compared(context: Context, task_id: str) -> Compared:
    found: Any = context["ti"].xcom_pull(task_ids=task_id)
    return [(SweepRange.from_json(value["range"]), SweepReport.from_json(value)) for value in results_of(found)]


def _said(report: SweepReport) -> str:
    counts = ", ".join(f"{report.count(d):,} {d}" for d in Difference if report.count(d)) or "nothing differs"
    return f"{report.indexed:,} documents, {report.listed:,} rows compared key by key, {counts}"
