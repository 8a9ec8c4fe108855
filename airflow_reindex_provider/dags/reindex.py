"""The Dag that keeps a stream's index true, and its tasks for a Dag of one's own."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import (
    DAG,
    CronDataIntervalTimetable,
    DeltaDataIntervalTimetable,
    Param,
    TaskGroup,
)

from airflow_reindex_provider.dags.common import FIRST_DAY, common_arguments
from airflow_reindex_provider.operators.base import RETRY_POLICY
from airflow_reindex_provider.operators.checkpoint import CheckpointOperator
from airflow_reindex_provider.operators.extract import ExtractChangesOperator
from airflow_reindex_provider.operators.index import MAP_INDEX_TEMPLATE, IndexBatchOperator
from airflow_reindex_provider.stream import Stream

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
        start_date: datetime = FIRST_DAY,
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


def _tasks(
    stream: Stream, max_active_batches: int, pool: str | None, task_args: dict[str, Any] | None
) -> tuple[ExtractChangesOperator, Any, CheckpointOperator]:
    common = common_arguments(task_args)
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
