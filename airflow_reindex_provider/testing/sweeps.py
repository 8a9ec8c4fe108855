"""One sweep of a stream without Airflow: plan, compare every range, allow, repair. For tests of sources and targets."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from airflow_reindex_provider.core.model import Batch, Mode, Position, Window
from airflow_reindex_provider.core.progress import Progress
from airflow_reindex_provider.core.sweeping.allowing import allow
from airflow_reindex_provider.core.sweeping.comparing import Comparison, opened
from airflow_reindex_provider.core.sweeping.planning import plan_sweep
from airflow_reindex_provider.core.sweeping.records import Compare, RepairJob, SweepPlan, SweepRange, SweepReport
from airflow_reindex_provider.core.sweeping.repairing import Repair, RepairResult
from airflow_reindex_provider.testing.memory import MemoryReporter
from airflow_reindex_provider.testing.runs import Runner


@dataclass(kw_only=True)
class Sweeper:
    """Does by hand what the tasks of a sweep do; every step opens sessions of its own, as tasks do."""

    run: Runner
    max_delete_fraction: float = 0.05
    what: Compare = Compare.VERSIONS

    def sweep(self) -> tuple[SweepReport, RepairResult]:
        """A whole sweep: what was found, and what was done about it."""
        plan, ranges = self.plan()
        reports = [(part, self.compare(plan, part)) for part in ranges]
        jobs = allow(plan, reports)
        done = sum((self.repair(plan, job) for job in jobs), RepairResult())
        return sum((report for _, report in reports), SweepReport()), done

    def plan(self) -> tuple[SweepPlan, Sequence[SweepRange]]:
        run = self.run
        with run.opened() as opened:
            return plan_sweep(
                opened,
                sizes=run.sizes,
                guarantee=run.target.guarantee,
                route=run.route,
                max_delete_fraction=self.max_delete_fraction,
                compare=self.what,
            )

    def compare(self, plan: SweepPlan, part: SweepRange) -> SweepReport:
        with self._comparison(plan) as comparison:
            return sum((found for _, found in comparison.report(part.keys, part.rows)), SweepReport())

    def repair(self, plan: SweepPlan, job: RepairJob) -> RepairResult:
        run = self.run
        window = Window(None, Position(plan.bound))
        batch = Batch(plan.stream, plan.generation, 0, 1, window, job.repairs, mode=Mode.SWEEP)
        with self._comparison(plan) as comparison:
            return Repair(
                plan=plan,
                comparison=comparison,
                format=run.format,
                chunk_rows=run.chunk_rows or run.target.chunk_rows,
                max_failures=run.max_failures,
                progress=Progress(batch, Mode.SWEEP, MemoryReporter()),
                transform=run.transform,
                embed=run.embed,
            ).run(job)

    def _comparison(self, plan: SweepPlan) -> AbstractContextManager[Comparison]:
        run = self.run
        return opened(plan, source=run.source, target=run.target, transform=run.transform)
