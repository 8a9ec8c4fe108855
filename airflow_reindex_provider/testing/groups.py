"""One run of all groups of a stream without Airflow: list, plan, index every batch, settle each group."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from airflow_reindex_provider.core.groups import GroupPlans, SharedPlanning, grouped, list_groups, plan_groups
from airflow_reindex_provider.core.model import BatchResult, Plan, Slices, Window
from airflow_reindex_provider.core.opened import Opened
from airflow_reindex_provider.core.planning import make_plan
from airflow_reindex_provider.core.protocols import CheckpointStore
from airflow_reindex_provider.core.running.outcomes import GroupOutcomes, Outcome
from airflow_reindex_provider.core.running.settling_groups import settle_groups
from airflow_reindex_provider.core.windows import Request
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.testing.memory import MemoryCheckpoint
from airflow_reindex_provider.testing.runs import Runner

_stamps = itertools.count(1)


@dataclass(kw_only=True)
class GroupRunner:
    """Does by hand what the three tasks of a run do; every step opens sessions of its own, as tasks do.

    :param stream: with groups. :param store: instead of the stream's.
    """

    stream: Stream
    store: CheckpointStore = field(default_factory=MemoryCheckpoint)

    def run(self, request: Request = Request()) -> GroupOutcomes:
        plans = self.plan(request)
        return self.settle(plans, self.index(plans))

    def plan(self, request: Request = Request()) -> GroupPlans:
        stamp = datetime(2026, 1, 1, tzinfo=UTC).strftime("%Y%m%dt") + f"{next(_stamps):06d}"
        stream, cuts = self.stream, dict[Window, Slices]()
        with stream.source.open() as source:
            survey = source.survey()
            reading = grouped(source, stream.name)
            groups = list_groups(
                stream.name,
                request,
                source=reading,
                survey=survey,
                store=self.store,
                run="by hand",
                route=stream.route,
            )

            def plan(value: str) -> Plan:
                own = stream.of_group(value)
                with own.target.open(own.name) as target:
                    planning = SharedPlanning(source, survey, cuts, own.source.open)
                    return make_plan(
                        Opened(own.name, planning, target, self.store),
                        request,
                        new_generation=own.target.generation_name(stamp),
                        route=own.route,
                        group=value,
                        sizes=stream.sizes,
                    )

            return plan_groups(stream.name, request, groups, plan, max_batches=stream.max_batches)

    def index(self, plans: GroupPlans) -> list[BatchResult]:
        return [self.of_group(batch.group or "").index(batch) for batch in plans.batches]

    def settle(self, plans: GroupPlans, results: Sequence[BatchResult]) -> GroupOutcomes:
        def settle(plan: Plan, mine: Sequence[BatchResult]) -> Outcome:
            return self.of_group(str(plan.group)).settle(plan, mine)

        return settle_groups(plans, results, settle)

    def of_group(self, value: str) -> Runner:
        own = self.stream.of_group(value)
        return Runner(
            source=own.source,
            target=own.target,
            stream=own.name,
            store=self.store,
            transform=own.transform,
            embed=own.embed,
            sizes=own.sizes,
            max_failures=own.max_failures,
            group=value,
        )
