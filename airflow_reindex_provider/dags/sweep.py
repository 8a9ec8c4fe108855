"""The Dag that finds and repairs what differs between a stream's source and its index."""

from __future__ import annotations

from copy import copy
from datetime import datetime
from typing import Any

from airflow.sdk import DAG, Param

from airflow_reindex_provider.core.sweeping.records import Compare
from airflow_reindex_provider.dags.common import FIRST_DAY, common_arguments
from airflow_reindex_provider.operators.base import RETRY_POLICY
from airflow_reindex_provider.operators.groups import GROUPS_PARAM, ListGroupsOperator
from airflow_reindex_provider.operators.index import MAP_INDEX_TEMPLATE
from airflow_reindex_provider.operators.sweep import (
    AllowRepairsOperator,
    CompareKeysOperator,
    PlanSweepOperator,
    RepairKeysOperator,
    SweepReportOperator,
)
from airflow_reindex_provider.operators.sweep_groups import SweepGroupOperator, SweepGroupsReportOperator
from airflow_reindex_provider.stream import Stream

SWEEP_PARAMS: dict[str, Param] = {
    "dry_run": Param(
        False,
        type="boolean",
        title="Dry run",
        description="Compare and report what differs; write nothing.",
    ),
    "max_delete_fraction": Param(
        0.05,
        type="number",
        minimum=0,
        maximum=1,
        title="Part of the index that may be deleted",
        description="With more orphans than this the sweep fails and repairs nothing.",
    ),
    "compare": Param(
        "versions",
        enum=["versions", "content"],
        title="What is compared",
        description="versions: keys and versions. content: values too, for rows changed without their cursor field.",
    ),
}
"""Trigger form of a sweep."""


class SweepDag(DAG):
    """Finds what differs between one stream's source and index, and repairs it; the Dag registers itself.

    Judges what lies below the stream's checkpoint, so it may run beside everything else. Missing and stale documents are
    indexed; those that are not in the source are deleted, after a look-up of each and up to ``max_delete_fraction``.

    :param stream: what to sweep.
    :param dag_id: default ``sweep_{stream.name}``. :param schedule: default: by hand only.
    :param max_delete_fraction: default of the trigger form: the part of the index that may be deleted.
    :param compare: default of the trigger form: ``versions``, or ``content``, which finds rows too that were changed without
        their cursor field, and reads all rows and documents where source and index are not both Postgres.
    :param max_active_ranges: mapped tasks of one run at the same time; default 4, each with a connection to both sides.
    :param pool: pool of the mapped tasks. :param task_args: further arguments of all operators.
    :param kwargs: further arguments of the Dag; ``params`` are added to the trigger form.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        dag_id: str | None = None,
        schedule: Any = None,
        start_date: datetime = FIRST_DAY,
        catchup: bool = False,
        max_delete_fraction: float = 0.05,
        compare: str = "versions",
        max_active_ranges: int = 4,
        pool: str | None = None,
        task_args: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("max_active_runs", 1)
        kwargs.setdefault("description", f"Finds and repairs what differs in {stream.target.label}")
        own = {**SWEEP_PARAMS, **({"groups": GROUPS_PARAM} if stream.has_groups else {})}
        params: dict[str, Any] = {**own, **kwargs.pop("params", {})}
        params["max_delete_fraction"] = copy(params["max_delete_fraction"])
        params["max_delete_fraction"].value = max_delete_fraction
        params["compare"] = copy(params["compare"])
        params["compare"].value = str(Compare(compare))
        super().__init__(
            dag_id=dag_id or f"sweep_{stream.name}",
            schedule=schedule,
            start_date=start_date,
            catchup=catchup,
            tags={"reindex", *kwargs.pop("tags", ())},
            params=params,
            **kwargs,
        )
        with self:
            if stream.has_groups:
                _group_sweep_tasks(stream, max_active_ranges, pool, task_args)
            else:
                _sweep_tasks(stream, max_active_ranges, pool, task_args)


def _sweep_tasks(
    stream: Stream, max_active_ranges: int, pool: str | None, task_args: dict[str, Any] | None
) -> SweepReportOperator:
    common = common_arguments(task_args)
    mapped: dict[str, Any] = {
        "map_index_template": MAP_INDEX_TEMPLATE,
        "max_active_tis_per_dagrun": max_active_ranges,
        "retry_policy": RETRY_POLICY,
        **common,
        **({"pool": pool} if pool else {}),
    }
    plan = PlanSweepOperator(
        task_id="plan",
        stream=stream,
        max_delete_fraction="{{ params.get('max_delete_fraction', 0.05) }}",
        report_only="{{ params.get('dry_run', false) }}",
        compare="{{ params.get('compare', 'versions') }}",
        **common,
    )
    of_plan: dict[str, Any] = {"stream": stream, "plan_task_id": plan.task_id}
    compare = CompareKeysOperator.partial(task_id="compare", **of_plan, **mapped).expand(part=plan.output)
    allow = AllowRepairsOperator(task_id="allow", compare_task_id=compare.task_id, **of_plan, **common)
    repair = RepairKeysOperator.partial(task_id="repair", **of_plan, **mapped).expand(job=allow.output)
    report = SweepReportOperator(
        task_id="report",
        compare_task_id=compare.task_id,
        allow_task_id=allow.task_id,
        repair_task_id=repair.task_id,
        **of_plan,
        **common,
    )
    compare >> allow
    repair >> report
    return report


def _group_sweep_tasks(stream: Stream, max_active: int, pool: str | None, task_args: dict[str, Any] | None) -> None:
    """See ``operators.sweep_groups``."""
    common = {"stream": stream, **common_arguments(task_args)}
    groups = ListGroupsOperator(task_id="groups", **common)
    sweep = SweepGroupOperator.partial(
        task_id="sweep",
        max_delete_fraction="{{ params.get('max_delete_fraction', 0.05) }}",
        report_only="{{ params.get('dry_run', false) }}",
        compare="{{ params.get('compare', 'versions') }}",
        map_index_template=MAP_INDEX_TEMPLATE,
        max_active_tis_per_dagrun=max_active,
        retry_policy=RETRY_POLICY,
        **common,
        **({"pool": pool} if pool else {}),
    ).expand(group=groups.output)
    report = SweepGroupsReportOperator(
        task_id="report", groups_task_id=groups.task_id, sweep_task_id=sweep.task_id, **common
    )
    sweep >> report
