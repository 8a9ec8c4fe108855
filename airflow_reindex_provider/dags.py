"""Whole Dags and task groups from a stream: what most authors need."""

from __future__ import annotations

from copy import copy
from datetime import datetime, timedelta
from typing import Any

import pendulum
from airflow.sdk import (
    DAG,
    CronDataIntervalTimetable,
    DeltaDataIntervalTimetable,
    Param,
    TaskGroup,
)

from airflow_reindex_provider.core.sweeping import Compare
from airflow_reindex_provider.operators.base import DEFAULT_RETRIES, RETRY_POLICY
from airflow_reindex_provider.operators.checkpoint import CheckpointOperator
from airflow_reindex_provider.operators.extract import ExtractChangesOperator
from airflow_reindex_provider.operators.groups import GROUPS_PARAM, ListGroupsOperator
from airflow_reindex_provider.operators.index import MAP_INDEX_TEMPLATE, IndexBatchOperator
from airflow_reindex_provider.operators.sweep import (
    AllowRepairsOperator,
    CompareKeysOperator,
    PlanSweepOperator,
    RepairKeysOperator,
    SweepReportOperator,
)
from airflow_reindex_provider.operators.sweep_groups import SweepGroupOperator, SweepGroupsReportOperator
from airflow_reindex_provider.stream import Stream

_FIRST_DAY = pendulum.datetime(2000, 1, 1, tz="UTC")
"""Start of a ReindexDag that names none: any range of the last decades can be backfilled, and nothing is caught up."""
_NO_INTERVAL = ("@once", "@continuous")

WINDOW_PARAMS: dict[str, Param] = {
    "window_start": Param(
        None,
        type=["string", "null"],
        format="date-time",
        title="Window start",
        description="Index the rows whose cursor lies at or after this, and leave the checkpoint alone. Empty: go on from"
        " the checkpoint.",
    ),
    "window_end": Param(
        None,
        type=["string", "null"],
        format="date-time",
        title="Window end",
        description="Stop before this cursor value. Empty: read as far as is safe.",
    ),
    "dry_run": Param(
        False,
        type="boolean",
        title="Dry run",
        description="Plan and report how many rows and batches it would be; write nothing.",
    ),
}
"""Trigger form of a run; :class:`ReindexTaskGroup` reads these three where the Dag has them.

A stream with an integer cursor wants numbers: ``params={"window_start": Param(None, type=["integer", "null"]), ...}``.
"""

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


class ReindexTaskGroup(TaskGroup):
    """``extract -> index (mapped) -> checkpoint`` for one stream, inside any Dag.

    The Dag's timetable must give data intervals if it is to be backfilled, and only one run at a time should move a
    checkpoint (``max_active_runs=1``); more are harmless, and read some rows twice.

    :param stream: what to index.
    :param max_active_batches: mapped tasks of one run at the same time; default 16. ``pool`` limits them across Dags.
    :param pool: pool of the mapped tasks; default: Airflow's.
    :param task_args: further arguments of all three operators, like ``retries`` or ``queue``.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        group_id: str = "reindex",
        max_active_batches: int = 16,
        pool: str | None = None,
        task_args: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(group_id=group_id, **kwargs)
        with self:
            self.extract, self.index, self.checkpoint = _tasks(stream, max_active_batches, pool, task_args)


class ReindexDag(DAG):
    """Keeps one stream's index true to its source, on a schedule; the Dag registers itself.

    Every run indexes what changed since the checkpoint. A backfill (``airflow backfill create``, or the UI's dialog)
    indexes the rows of each run's data interval and leaves the checkpoint alone, and so does a run with a window in its
    trigger form.

    :param stream: what to keep true.
    :param dag_id: default ``reindex_{stream.name}``.
    :param schedule: a cron string or timedelta, made into a timetable with data intervals (UTC), so that it can be
        backfilled; or whatever a Dag takes. Default: by hand only.
    :param start_date: default 2000-01-01. :param catchup: default False: one run brings all that was missed.
    :param max_active_batches: mapped tasks of one run at the same time; default 16.
    :param pool: pool of the mapped tasks. :param task_args: further arguments of all three operators.
    :param kwargs: further arguments of the Dag; ``params`` are added to the trigger form.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        dag_id: str | None = None,
        schedule: Any = None,
        start_date: datetime = _FIRST_DAY,
        catchup: bool = False,
        max_active_batches: int = 16,
        pool: str | None = None,
        task_args: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("max_active_runs", 1)
        kwargs.setdefault("description", f"Keeps {stream.target.label} true to {stream.source.label}")
        kwargs.setdefault("doc_md", _doc_md(stream))
        super().__init__(
            dag_id=dag_id or f"reindex_{stream.name}",
            schedule=_with_data_intervals(schedule),
            start_date=start_date,
            catchup=catchup,
            tags={"reindex", *kwargs.pop("tags", ())},
            params={**WINDOW_PARAMS, **kwargs.pop("params", {})},
            **kwargs,
        )
        with self:
            _tasks(stream, max_active_batches, pool, task_args)


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
        start_date: datetime = _FIRST_DAY,
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
    common = _common(task_args)
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
    common = {"stream": stream, **_common(task_args)}
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


def _tasks(
    stream: Stream, max_active_batches: int, pool: str | None, task_args: dict[str, Any] | None
) -> tuple[ExtractChangesOperator, Any, CheckpointOperator]:
    common = _common(task_args)
    mapped = {**common, **({"pool": pool} if pool else {})}
    extract = ExtractChangesOperator(
        task_id="extract",
        stream=stream,
        window_start="{{ params.get('window_start') or '' }}",
        window_end="{{ params.get('window_end') or '' }}",
        plan_only="{{ params.get('dry_run', false) }}",
        **common,
    )
    index = IndexBatchOperator.partial(
        task_id="index",
        stream=stream,
        map_index_template=MAP_INDEX_TEMPLATE,
        max_active_tis_per_dagrun=max_active_batches,
        **{"retry_policy": RETRY_POLICY, **mapped},
    ).expand(batch=extract.output)
    checkpoint = CheckpointOperator(
        task_id="checkpoint",
        stream=stream,
        extract_task_id=extract.task_id,
        index_task_id=index.task_id,
        **common,
    )
    index >> checkpoint
    return extract, index, checkpoint


def _common(task_args: dict[str, Any] | None) -> dict[str, Any]:
    return {"retries": DEFAULT_RETRIES, "retry_delay": timedelta(seconds=30), **(task_args or {})}


def _with_data_intervals(schedule: Any) -> Any:
    """A cron string or timedelta alone gives runs of no width in Airflow 3, which a backfill could not fill."""
    if isinstance(schedule, timedelta):
        return DeltaDataIntervalTimetable(schedule)
    if isinstance(schedule, str) and schedule not in _NO_INTERVAL:
        return CronDataIntervalTimetable(schedule, timezone="UTC")
    return schedule


def _doc_md(stream: Stream) -> str:
    return (
        f"Stream **{stream.name}**: {stream.source.label} → {stream.target.label}.\n\n"
        f"`extract` plans, one `index` task a batch writes, `checkpoint` moves the cursor past what is acknowledged."
        f" Guarantee: {stream.target.guarantee}."
    )
