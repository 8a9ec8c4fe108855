"""The tasks of a sweep of a stream with groups: groups, sweep (mapped over them), report."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import TriggerRule
from airflow.sdk.exceptions import AirflowFailException

from airflow_reindex_provider.core.errors import IndexingStoppedError
from airflow_reindex_provider.core.model import Batch, Counts, Mode, Position, Window
from airflow_reindex_provider.core.progress import Progress, Status
from airflow_reindex_provider.core.running.indexing import choose_format
from airflow_reindex_provider.core.sweeping.allowing import allow
from airflow_reindex_provider.core.sweeping.comparing import opened
from airflow_reindex_provider.core.sweeping.planning import plan_sweep
from airflow_reindex_provider.core.sweeping.records import (
    Compare,
    Difference,
    RepairJob,
    SweepPlan,
    SweepRange,
    SweepReport,
)
from airflow_reindex_provider.core.sweeping.repairing import Repair, RepairResult
from airflow_reindex_provider.hooks.progress import ReindexProgressHook
from airflow_reindex_provider.operators.base import StreamOperator
from airflow_reindex_provider.operators.groups import OfGroupOperator
from airflow_reindex_provider.operators.sweep import SWEEP_KEY, lease_of

if TYPE_CHECKING:
    from airflow.sdk import Context


class _Unseen:
    """A repair counts its documents in the result; the task shows how far its comparison is."""

    def report(self, record: dict[str, Any]) -> None: ...


class SweepGroupOperator(OfGroupOperator):
    """Sweeps one group: plans, compares its ranges one after another, and repairs what differs if that is allowed. Returns
    the sums. A retry compares anew and does what is left.

    Live progress is the XCom ``reindex_progress``; its ``noops`` are the rows compared.

    :param max_delete_fraction: part of the group's index that may be deleted, 0 to 1. A template.
    :param report_only: compare and report, write nothing. A template: anything but ``true`` is false.
    :param compare: ``versions``, or ``content`` as well. A template.
    """

    template_fields: Sequence[str] = ("group", "max_delete_fraction", "report_only", "compare")

    def __init__(
        self,
        *,
        max_delete_fraction: float | str = 0.05,
        report_only: bool | str = False,
        compare: str = "versions",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.compare = compare
        self.max_delete_fraction = max_delete_fraction
        self.report_only = report_only
        self._stop = threading.Event()

    def on_kill(self) -> None:
        self._stop.set()

    def execute(self, context: Context) -> dict[str, Any]:
        own, keeper = self.own, lease_of(self.own, context)
        report_only = str(self.report_only).strip().lower() == "true"

        def should_stop() -> bool:
            # Asked before every write: whoever has lost the lease writes no more.
            if not report_only:
                keeper.keep()
            return self._stop.is_set()

        should_stop()
        try:
            with own.source.open() as source, own.target.open(own.name) as target:
                plan, ranges = plan_sweep(
                    own.name,
                    source=source,
                    target=target,
                    store=own.checkpoint,
                    sizes=own.sizes,
                    guarantee=own.target.guarantee,
                    max_delete_fraction=float(self.max_delete_fraction),
                    dry_run=report_only,
                    compare=Compare(self.compare),
                )
            progress = ReindexProgressHook(context["ti"]).track(_batch(plan, sum(part.rows for part in ranges)))
            progress.start()
            try:
                compared = [(part, self._compare(plan, part, progress, should_stop)) for part in ranges]
                jobs = () if plan.dry_run else allow(plan, compared)
                done = sum((self._repair(plan, job, should_stop) for job in jobs), RepairResult())
            except BaseException as error:
                progress.finish(Status.FAILED, str(error)[:300])
                raise
            progress.finish(Status.COMPLETED)
        finally:
            if not report_only:
                keeper.release()
        found = sum((report for _, report in compared), SweepReport())
        return {
            **plan.to_json(),
            "group": self.group,
            "rows": sum(part.rows for part in ranges),
            "indexed": found.indexed,
            "listed": found.listed,
            **{str(d): found.count(d) for d in Difference},
            "examples": found.to_json()["examples"],
            "repairs": done.counts.processed,
            **done.counts.to_json(),
            "spared": done.spared,
            "rejected": [rejection.to_json() for rejection in done.rejected[:10]],
        }

    def _compare(self, plan: SweepPlan, part: SweepRange, progress: Progress, should_stop: Any) -> SweepReport:
        own, found = self.own, SweepReport()
        with opened(plan, source=own.source, target=own.target, transform=own.transform) as comparison:
            for rows, report in comparison.report(part.keys, part.rows):
                found = found + report
                progress.add(Counts(noops=rows))
                if should_stop():
                    raise IndexingStoppedError("Stopped; a retry compares the group anew.")
        return found

    def _repair(self, plan: SweepPlan, job: RepairJob, should_stop: Any) -> RepairResult:
        own = self.own
        with opened(plan, source=own.source, target=own.target, transform=own.transform) as comparison:
            return Repair(
                plan=plan,
                comparison=comparison,
                format=choose_format(own.source.formats, own.target.formats, own.transform),
                chunk_rows=own.target.chunk_rows,
                max_failures=own.max_failures,
                progress=Progress(_batch(plan, job.repairs), str(Mode.SWEEP), _Unseen()),
                transform=own.transform,
                should_stop=should_stop,
            ).run(job)


def _batch(plan: SweepPlan, total: int) -> Batch:
    return Batch(plan.stream, plan.generation, 0, 1, Window(None, Position(plan.bound)), total, mode=Mode.SWEEP)


class SweepGroupsReportOperator(StreamOperator):
    """Tells what was found in each group, as the XCom ``reindex_sweep`` and in the log; fails where a group has failed, and
    names it.

    :param groups_task_id: which groups. :param sweep_task_id: the mapped sweep.
    """

    def __init__(self, *, groups_task_id: str, sweep_task_id: str, **kwargs: Any) -> None:
        kwargs.setdefault("trigger_rule", TriggerRule.ALL_DONE)
        super().__init__(**kwargs)
        self.groups_task_id = groups_task_id
        self.sweep_task_id = sweep_task_id

    def execute(self, context: Context) -> dict[str, Any]:
        ti: Any = context["ti"]
        groups: Any = ti.xcom_pull(task_ids=self.groups_task_id)
        if not groups:
            raise AirflowFailException(f"Task {self.groups_task_id!r} listed no groups; its log says why.")
        swept = ti.xcom_pull(task_ids=self.sweep_task_id, map_indexes=range(len(groups)))
        failed = [group for group, result in zip(groups, swept, strict=True) if not result]
        results = [result for result in swept if result]
        sums = ("rows", "indexed", "listed", *map(str, Difference), "repairs", *Counts().to_json(), "spared")
        report = {
            "stream": self.stream.name,
            "status": "failed" if failed else "completed",
            **{name: sum(result[name] for result in results) for name in sums},
            "groups": {result["group"]: {name: result[name] for name in ("rows", *Difference)} for result in results},
            "failed": failed,
        }
        ti.xcom_push(key=SWEEP_KEY, value=report)
        for result in results:
            differs = ", ".join(f"{result[d]:,} {d}" for d in map(str, Difference) if result[d]) or "nothing differs"
            self.log.info(
                "%s: %s rows, %s, %d repairs.", result["group"], f"{result['rows']:,}", differs, result["repairs"]
            )
        if failed:
            raise AirflowFailException(
                f"Stream {self.stream.name!r}: the sweep of {len(failed)} of {len(groups)} groups failed:"
                f" {', '.join(map(repr, failed))}. The others are swept. The failed tasks' logs say why; what was repaired is"
                " kept."
            )
        return report
