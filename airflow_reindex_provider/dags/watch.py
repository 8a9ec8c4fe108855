"""The Dag that calls people when what was promised of streams is broken."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG

from airflow_reindex_provider.dags.common import FIRST_DAY, of_ours
from airflow_reindex_provider.operators.watch import Watch, WatchOperator

if TYPE_CHECKING:
    from airflow.sdk.bases.notifier import BaseNotifier


class WatchDag(DAG):
    """Looks every few minutes whether what was promised of streams is kept, and calls each notifier once when it breaks and once
    when it is well again; the Dag registers itself. It reads what the streams' tasks have published: no source and no target is
    asked.

    :param watched: the streams, each with what is promised.
    :param notifiers: Airflow notifiers (``SmtpNotifier``, ``SlackNotifier``, ...), whose templates read ``reindex.subject``,
        ``reindex.text``, ``reindex.broken`` and ``reindex.well``. One look calls each of them once at the most, however many
        streams are broken.
    :param dag_id: default ``reindex_watch``. :param schedule: default every five minutes.
    :param task_args: further arguments of the operator. :param kwargs: further arguments of the Dag.
    """

    def __init__(
        self,
        watched: Sequence[Watch],
        *,
        notifiers: Sequence[BaseNotifier],
        dag_id: str = "reindex_watch",
        schedule: Any = "*/5 * * * *",
        start_date: datetime = FIRST_DAY,
        catchup: bool = False,
        task_args: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("description", f"Watches {len(watched)} streams")
        super().__init__(
            dag_id=dag_id,
            schedule=schedule,
            start_date=start_date,
            catchup=catchup,
            **of_ours(kwargs),
        )
        with self:
            WatchOperator(task_id="watch", watched=watched, notifiers=notifiers, **(task_args or {}))
