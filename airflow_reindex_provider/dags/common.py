"""What the Dags of a stream share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pendulum
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Param, TriggerRule

from airflow_reindex_provider.operators.base import DEFAULT_RETRIES, RETRY_POLICY
from airflow_reindex_provider.operators.failures import TellFailureOperator
from airflow_reindex_provider.operators.index import MAP_INDEX_TEMPLATE
from airflow_reindex_provider.stream import Stream

FIRST_DAY = pendulum.datetime(2000, 1, 1, tz="UTC")
"""Start of a Dag that names none: any range of the last decades can be backfilled, and nothing is caught up."""
MAX_ACTIVE_BATCHES = 16
"""Tasks that copy from one database to one index at the same time."""
WAIT_FOR_LEASE = "{{ params.get('wait', false) }}"
"""Argument ``wait`` of the task that takes the stream's lease, from the form."""


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """What the tasks of a stream are made with: the author's arguments over ours."""

    stream: Stream
    max_active: int
    pool: str | None = None
    task_args: dict[str, Any] | None = None

    @property
    def all(self) -> dict[str, Any]:
        """Arguments of every operator."""
        return {"stream": self.stream, **self.plain}

    @property
    def plain(self) -> dict[str, Any]:
        """The same without the stream."""
        return {"retries": DEFAULT_RETRIES, "retry_delay": timedelta(seconds=30), **(self.task_args or {})}

    @property
    def mapped(self) -> dict[str, Any]:
        """Of one that is mapped, and does the work: the scheduler reads them before the operator is made."""
        return {
            "map_index_template": MAP_INDEX_TEMPLATE,
            "max_active_tis_per_dagrun": self.max_active,
            "retry_policy": RETRY_POLICY,
            **self.all,
            **({"pool": self.pool} if self.pool else {}),
        }


def of_ours(author: dict[str, Any], form: Mapping[str, Param] | None = None) -> dict[str, Any]:
    """Arguments of a Dag of ours, the author's over them: one run at a time, a tag, and the fields of its form."""
    return {
        "max_active_runs": 1,
        **author,
        "tags": {"reindex", *author.get("tags", ())},
        "params": {**(form or {}), **author.get("params", {})},
    }


class StreamDag(DAG):
    """A Dag for one stream, with its tasks in it; it registers itself.

    :param stream: what it is for.
    :param dag_id: default ``reindex_``, ``rebuild_`` or ``sweep_`` and the stream's name.
    :param schedule: whatever a Dag takes. Default: by hand only.
    :param start_date: default 2000-01-01. :param catchup: default False: one run brings all that was missed.
    :param pool: pool of the mapped tasks; default: Airflow's.
    :param task_args: further arguments of all operators, like ``retries`` or ``queue``.
    :param tell_failures: tell a failed run as the event ``run.failed``, by two more tasks, neither of which costs a run that is
        well a process; default False.
    :param kwargs: further arguments of the Dag; ``max_active_runs`` is 1 unless given, ``params`` and ``tags`` are added to
        its own.
    """

    reads_all_conf = True
    """A run's conf has no keys but the fields of the form: see ``operators.conf``."""

    def __init__(
        self,
        stream: Stream,
        *,
        dag_id: str | None = None,
        schedule: Any = None,
        start_date: datetime = FIRST_DAY,
        catchup: bool = False,
        pool: str | None = None,
        task_args: dict[str, Any] | None = None,
        tell_failures: bool = False,
        prefix: str,
        form: dict[str, Param],
        max_active: int,
        make_tasks: Callable[[Tasks], object],
        **kwargs: Any,
    ) -> None:
        super().__init__(
            dag_id=dag_id or f"{prefix}_{stream.name}",
            schedule=schedule,
            start_date=start_date,
            catchup=catchup,
            **of_ours(kwargs, form),
        )
        with self:
            tasks = Tasks(stream=stream, max_active=max_active, pool=pool, task_args=task_args)
            make_tasks(tasks)
            if tell_failures:
                _tell_failures(self, tasks)


def _tell_failures(dag: DAG, tasks: Tasks) -> None:
    """A run is as its last tasks are: one of them tells, and succeeds; the other one ends as those before it did."""
    of_run = list(dag.tasks)
    last = [task for task in of_run if not task.downstream_task_ids]
    failed = TellFailureOperator(task_id="tell_failure", of_task_ids=[task.task_id for task in of_run], **tasks.all)
    ended = EmptyOperator(task_id="ended", trigger_rule=TriggerRule.NONE_FAILED)
    for task in of_run:
        failed.set_upstream(task)
    for task in last:
        ended.set_upstream(task)
