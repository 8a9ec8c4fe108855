"""The swap of a rebuild waits for a person, where its form says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.exceptions import HITLRejectException, HITLTimeoutError
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowFailException

from airflow_reindex_provider.core.published import BUSY_KEY
from airflow_reindex_provider.core.rebuilding.promoting import WAIT
from airflow_reindex_provider.operators.leases import skip_if_busy

if TYPE_CHECKING:
    from airflow.sdk import Context


class ApproveSwapOperator(ApprovalOperator):
    """Waits for a person where the form says so, else lets the run go on.

    Who has rejected, or has let the time pass, is not asked again. Retries ask again after what Airflow itself has lost: its
    scheduler fails a task that is answered before it has seen that the task waits.

    :param prepare_task_id: the first task, which may not have got the lease; None where this one is skipped then anyway.
    """

    def __init__(self, *, prepare_task_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(
            subject="Serve the rebuilt index?",
            body="The new generation is verified: see the task `verify`. Approve to promote it; reject to leave the live one.",
            fail_on_reject=True,
            **kwargs,
        )
        self.prepare_task_id = prepare_task_id

    def execute(self, context: Context) -> Any:
        if self.prepare_task_id is not None:
            busy: Any = context["ti"].xcom_pull(task_ids=self.prepare_task_id, key=BUSY_KEY)
            skip_if_busy(busy)
        if context["params"].get("promote") == WAIT:
            return super().execute(context)
        return None

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        try:
            return super().execute_complete(context, event)
        except HITLRejectException as error:
            raise AirflowFailException("The swap was rejected. The live generation is as it was.") from error
        except HITLTimeoutError as error:
            waited = f" within {self.response_timeout}" if self.response_timeout else ""
            raise AirflowFailException(
                f"Nobody has answered{waited}, and the live generation is as it was. Clear this task to be asked again, or set"
                " approval_timeout of the RebuildDag."
            ) from error
