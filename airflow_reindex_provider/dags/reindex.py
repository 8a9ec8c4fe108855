"""The Dag that keeps a stream's index true, and its tasks for a Dag of one's own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import CronDataIntervalTimetable, DeltaDataIntervalTimetable, TaskGroup

from airflow_reindex_provider.dags.common import MAX_ACTIVE_BATCHES, StreamDag, Tasks
from airflow_reindex_provider.dags.forms import ACTION_PARAMS, WINDOW_PARAMS
from airflow_reindex_provider.operators.checkpoint import CheckpointOperator
from airflow_reindex_provider.operators.extract import ExtractChangesOperator
from airflow_reindex_provider.operators.index import IndexBatchOperator
from airflow_reindex_provider.stream import Stream

_NO_INTERVAL = ("@once", "@continuous")


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
        max_active_batches: int = MAX_ACTIVE_BATCHES,
        pool: str | None = None,
        task_args: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(group_id=group_id, **kwargs)
        with self:
            self.extract, self.index, self.checkpoint = _tasks(
                Tasks(stream=stream, max_active=max_active_batches, pool=pool, task_args=task_args)
            )


class ReindexDag(StreamDag):
    """Keeps one stream's index true to its source, on a schedule; the Dag registers itself.

    Every run indexes what changed since the checkpoint. A backfill (``airflow backfill create``, or the UI's dialog)
    indexes the rows of each run's data interval and leaves the checkpoint alone, and so does a run with a window in its
    trigger form.

    :param stream: what to keep true.
    :param schedule: a cron string or timedelta, made into a timetable with data intervals (UTC), so that it can be
        backfilled; or whatever a Dag takes. Default: by hand only.
    :param max_active_batches: mapped tasks of one run at the same time; default 16.
    :param kwargs: see :class:`~airflow_reindex_provider.dags.common.StreamDag`.
    """

    def __init__(
        self, stream: Stream, *, schedule: Any = None, max_active_batches: int = MAX_ACTIVE_BATCHES, **kwargs: Any
    ) -> None:
        kwargs.setdefault("description", f"Keeps {stream.target.label} true to {stream.source.label}")
        kwargs.setdefault("doc_md", _doc_md(stream))
        super().__init__(
            stream,
            schedule=with_data_intervals(schedule),
            prefix="reindex",
            form={**WINDOW_PARAMS, **ACTION_PARAMS},
            max_active=max_active_batches,
            make_tasks=_tasks,
            **kwargs,
        )


def _tasks(of: Tasks) -> tuple[ExtractChangesOperator, Any, CheckpointOperator]:
    extract = ExtractChangesOperator(
        task_id="extract",
        window_start="{{ params.get('window_start') or '' }}",
        window_end="{{ params.get('window_end') or '' }}",
        plan_only="{{ params.get('dry_run', false) }}",
        **of.all,
    )
    index = IndexBatchOperator.partial(task_id="index", **of.mapped).expand(batch=extract.output)
    checkpoint = CheckpointOperator(
        task_id="checkpoint", extract_task_id=extract.task_id, index_task_id=index.task_id, **of.all
    )
    index >> checkpoint
    return extract, index, checkpoint


def with_data_intervals(schedule: Any) -> Any:
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
