"""What becomes of the task that asks whether to swap, by its answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from streams_of_rest import stream

from airflow_reindex_provider.dags.rebuild import RebuildDag
from airflow_reindex_provider.operators.approving import ApproveSwapOperator

pytestmark = pytest.mark.versions


@pytest.fixture
def approve() -> ApproveSwapOperator:
    return ApproveSwapOperator(task_id="approve", response_timeout=timedelta(hours=2))


def answered(option: str) -> dict[str, Any]:
    return {
        "chosen_options": [option],
        "params_input": {},
        "responded_at": datetime.now(UTC),
        "responded_by_user": {"id": "1", "name": "anna"},
    }


def test_a_run_that_was_approved_goes_on(approve: ApproveSwapOperator) -> None:
    assert approve.execute_complete({}, answered("Approve"))["chosen_options"] == ["Approve"]


def test_who_has_rejected_is_not_asked_again(approve: ApproveSwapOperator) -> None:
    with pytest.raises(AirflowFailException, match=r"The swap was rejected\. The live generation is as it was."):
        approve.execute_complete({}, answered("Reject"))


def test_who_has_let_the_time_pass_is_not_asked_again(approve: ApproveSwapOperator) -> None:
    with pytest.raises(AirflowFailException, match=r"Nobody has answered within 2:00:00, .*set approval_timeout"):
        approve.execute_complete({}, {"error": "timeout", "error_type": "timeout"})


@pytest.mark.parametrize(("retries", "asked_again"), [(0, 1), (3, 3)])
def test_what_the_scheduler_loses_is_asked_again(retries: int, asked_again: int) -> None:
    """By a retry, also where the author wants none."""
    items = stream()
    dag = RebuildDag(items, dag_id="again", task_args={"retries": retries})
    assert dag.get_task("approve").retries == asked_again
