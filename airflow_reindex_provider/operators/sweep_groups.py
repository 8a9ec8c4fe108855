"""The tasks of a sweep of a stream with groups: groups, sweep (mapped over them), report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_reindex_provider.control.carried import SWEEP
from airflow_reindex_provider.core.groups import MAX_WARNINGS
from airflow_reindex_provider.core.model import Counts, Mode
from airflow_reindex_provider.core.progress import Progress
from airflow_reindex_provider.core.published import SWEEP_KEY
from airflow_reindex_provider.core.sweeping.allowing import allow
from airflow_reindex_provider.core.sweeping.records import Difference
from airflow_reindex_provider.events import Event
from airflow_reindex_provider.operators import tracing
from airflow_reindex_provider.operators.base import close_progress, is_true, tell
from airflow_reindex_provider.operators.groups import AllGroupsOperator
from airflow_reindex_provider.operators.measuring import Measured
from airflow_reindex_provider.operators.publishing import publish_standing
from airflow_reindex_provider.operators.sweep import PlanSweepOperator
from airflow_reindex_provider.operators.sweeping import compare_range, repair_range, shown, shown_as, sums

if TYPE_CHECKING:
    from airflow.sdk import Context


class _Unseen:
    """A repair counts its documents in the result; the task shows how far its comparison is."""

    def report(self, record: dict[str, Any]) -> None: ...


class SweepGroupOperator(PlanSweepOperator):
    """Sweeps one group: plans as :class:`PlanSweepOperator`, compares its ranges one after another, and repairs what differs if
    that is allowed. Returns the sums. A retry compares anew and does what is left.

    Live progress is the XCom ``reindex_progress``; its ``noops`` are the rows compared.
    """

    writes_index = True

    def execute(self, context: Context) -> dict[str, Any]:
        own, keeper = self.own, self.keeper(context)
        dry_run = is_true("dry_run", self.report_only)
        should_stop = self.should_stop if dry_run else self.should_stop_keeping(keeper)
        if not dry_run:
            self.take(keeper, context)
        try:
            with tracing.planning(own.name, Mode.SWEEP) as span:
                plan, ranges = self.plan()
                traced = tracing.planned_sweep(span, plan, ranges)
            self.touched.generation = plan.generation
            tell(f"Group {self.group!r}", plan.held_by, plan.warnings)
            rows = sum(part.rows for part in ranges)
            progress = self.track(context, shown_as(plan, rows))
            with shown(progress):
                compared = [
                    (
                        part,
                        compare_range(
                            own,
                            plan,
                            part,
                            progress=progress,
                            should_stop=should_stop,
                            touched=self.touched,
                            planned=traced,
                        ),
                    )
                    for part in ranges
                ]
                jobs = () if plan.dry_run else allow(plan, compared)
                repaired = [
                    repair_range(
                        own,
                        plan,
                        job,
                        progress=Progress(shown_as(plan, job.repairs), str(Mode.SWEEP), _Unseen()),
                        should_stop=should_stop,
                        traffic=Measured(self.stream, Mode.SWEEP).traffic,
                        touched=self.touched,
                        planned=traced,
                    )
                    for job in jobs
                ]
        finally:
            if not dry_run:
                keeper.release()
        return {**plan.to_json(), "group": self.group, **sums(rows, compared, repaired)}


class SweepGroupsReportOperator(AllGroupsOperator):
    """Tells what was found in each group, as the XCom ``reindex_sweep`` and in the log; fails where a group has failed, and
    names it."""

    role = SWEEP
    tells_events = True

    def execute(self, context: Context) -> dict[str, Any]:
        swept, busy = self.by_group(context), self.busy(context)
        if len(busy) == len(swept):
            raise AirflowSkipException("\n".join(busy.values()))
        failed = [group for group, result in swept.items() if not result and group not in busy]
        close_progress(context, self.group_task_id, (n for n, result in enumerate(swept.values()) if not result))
        results = [result for result in swept.values() if result]
        names = ("rows", "indexed", "listed", *map(str, Difference), "repairs", *Counts().to_json(), "spared")
        report = {
            "stream": self.stream.name,
            "status": "failed" if failed else "completed",
            **{name: sum(result[name] for result in results) for name in names},
            "groups": {result["group"]: {name: result[name] for name in ("rows", *Difference)} for result in results},
            "held_by": next((result["held_by"] for result in results if result["held_by"]), None),
            "warnings": list(dict.fromkeys(text for result in results for text in result["warnings"]))[:MAX_WARNINGS],
            "failed": failed,
            "busy": busy,
        }
        context["ti"].xcom_push(key=SWEEP_KEY, value=report)
        publish_standing(context, self.stream, None, Mode.SWEEP)
        Measured(self.stream, Mode.SWEEP).run(context, report)
        for group, why in busy.items():
            self.log.warning("Group %r is left alone: %s", group, why)
        for result in results:
            differs = ", ".join(f"{result[d]:,} {d}" for d in map(str, Difference) if result[d]) or "nothing differs"
            self.log.info(
                "%s: %s rows, %s, %d repairs.", result["group"], f"{result['rows']:,}", differs, result["repairs"]
            )
        if failed:
            raise AirflowFailException(
                f"Stream {self.stream.name!r}: the sweep of {len(failed)} of {len(swept)} groups failed:"
                f" {', '.join(map(repr, failed))}. The others are swept. The failed tasks' logs say why; what was repaired is"
                " kept."
            )
        counts = {name: report[name] for name in names}
        self.tell_event(context, Event.SWEEP_COMPLETED, dry_run=any(r["dry_run"] for r in results), **counts)
        return report
