"""One rebuild of a stream without Airflow: begin, copy, catch up, verify, promote, retire. For tests of targets and rules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from airflow_reindex_provider.core.model import Plan
from airflow_reindex_provider.core.rebuilding import steps
from airflow_reindex_provider.core.rebuilding.verifying import Verification, verify
from airflow_reindex_provider.core.running.outcomes import Outcome
from airflow_reindex_provider.core.running.settling import require_complete
from airflow_reindex_provider.testing.runs import Runner


@dataclass(kw_only=True)
class Rebuilder:
    """Does by hand what the tasks of a rebuild do; every step opens sessions of its own, as tasks do."""

    run: Runner
    max_lag: timedelta = timedelta(minutes=1)
    min_size_ratio: float = 0.5
    retain: int = 1

    def rebuild(self, stamp: str) -> str:
        """A whole rebuild. :param stamp: of the new generation, ``YYYYMMDDtHHMMSS``; its name is returned."""
        plan = self.begin(stamp)
        self.copy(plan)
        self.catch_up(plan.generation)
        self.verify(plan.generation)
        self.promote(plan.generation)
        self.retire()
        return plan.generation

    def rollback(self, to: str = steps.PREVIOUS) -> str:
        with self.run.target.open(self.run.stream) as target:
            generation = steps.begin_rollback(self.run.stream, to, target=target)
        self.promote(generation)
        return generation

    def begin(self, stamp: str) -> Plan:
        run = self.run
        with run.opened() as opened:
            return steps.begin_rebuild(
                opened,
                run.target.generation_name(stamp),
                group=run.group,
                route=run.route,
                guarantee=run.target.guarantee,
                sizes=run.sizes,
            )

    def copy(self, plan: Plan) -> Outcome:
        outcome = self.run.settle(plan, [self.run.index(batch) for batch in plan.batches])
        require_complete(outcome)
        return outcome

    def catch_up(self, generation: str) -> steps.CaughtUp:
        run = self.run
        with run.opened() as opened:
            return steps.catch_up(
                opened,
                generation,
                index=partial(run.index_in, opened),
                run="by hand",
                max_lag=self.max_lag,
                max_failures=run.max_failures,
                sizes=run.sizes,
            )

    def verify(self, generation: str) -> Verification:
        with self.run.opened() as opened:
            return verify(opened, generation, transform=self.run.transform, min_size_ratio=self.min_size_ratio)

    def promote(self, generation: str) -> None:
        """Between two more windows: a person may have taken their time, and the live generation may have been ahead."""
        self.catch_up(generation)
        self.swap(generation)
        self.catch_up(generation)

    def swap(self, generation: str) -> int:
        with self.run.opened() as opened:
            return steps.promote(opened, generation)

    def retire(self) -> tuple[str, ...]:
        run = self.run
        with run.target.open(run.stream) as target:
            return steps.retire(run.stream, target=target, store=run.store, retain=self.retain)
