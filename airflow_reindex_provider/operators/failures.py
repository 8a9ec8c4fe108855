"""Tells that a run has failed. A task that fails tells nothing in Airflow, so one that succeeds does it after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import TriggerRule

from airflow_reindex_provider.core.published import FAILURE_KEY
from airflow_reindex_provider.events import Event
from airflow_reindex_provider.operators.base import StreamOperator, results_of

if TYPE_CHECKING:
    from airflow.sdk import Context


class TellFailureOperator(StreamOperator):
    """Runs where a task of the run has failed for good, and tells it as the event ``run.failed``, with what the first one says;
    the run itself stays failed, by a task beside it. Costs a run that is well no process.

    :param of_task_ids: the tasks of the run.
    """

    tells_events = True

    def __init__(self, *, of_task_ids: list[str], **kwargs: Any) -> None:
        kwargs.setdefault("trigger_rule", TriggerRule.ONE_FAILED)
        super().__init__(**kwargs)
        self.of_task_ids = of_task_ids

    def execute(self, context: Context) -> dict[str, Any]:
        ti: Any = context["ti"]
        found = [
            {**failure, "task_id": task_id}
            for task_id in self.of_task_ids
            for failure in results_of(ti.xcom_pull(task_ids=task_id, key=FAILURE_KEY))
        ]
        first = min(found, key=lambda failure: failure["at"], default={})
        message = str(first.get("message") or "a task was killed, or failed without a word")
        self.log.info("The run has failed: %s", message)
        figures = {"task_id": first.get("task_id"), "message": message, "failed_at": first.get("at")}
        self.tell_event(context, Event.RUN_FAILED, **figures)
        return figures
