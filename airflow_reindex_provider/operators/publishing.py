"""What tasks publish beside their results, for whoever looks at the stream: how it stands, and why a task failed. Never in the
way of the work: what cannot be published is a line in the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.control.standing import standing
from airflow_reindex_provider.core.errors import ReindexError
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.core.published import FAILURE_KEY, GROUP_KEY, STANDING_KEY
from airflow_reindex_provider.operators.measuring import Measured

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_reindex_provider.core.cursors import CursorType
    from airflow_reindex_provider.core.model import Mode
    from airflow_reindex_provider.stream import Stream

log = logging.getLogger(__name__)

_MOST_CHARS = 2000


def publish_standing(
    context: Context, stream: Stream, cursor_type: CursorType | None, mode: Mode, *, group: str | None = None
) -> dict[str, Any] | None:
    """The XCom ``reindex_standing``, and what is measured of it; of one group of a stream ``reindex_group`` instead.

    :param cursor_type: where a plan has it; None asks the source. :param group: value of the group that the stream is of.
    :returns: what was published; None where it was not."""
    try:
        record = standing(stream, cursor_type or _cursor_type(stream))
        if group is not None:
            record["group"] = group
        context["ti"].xcom_push(key=STANDING_KEY if group is None else GROUP_KEY, value=record)
    except Exception as error:
        log.warning("How stream %r stands was not published: %s", stream.name, error)
        return None
    if group is None:
        Measured(stream, mode).standing(record)
    return record


def publish_retry(context: Any) -> None:
    """As :func:`publish_failure`, of a task that will be tried again: the ``on_retry_callback`` of the operators."""
    _publish_failure(context, again=True)


def _cursor_type(stream: Stream) -> CursorType | None:
    """None where the source does not say it now: how the target stands is known all the same."""
    try:
        with stream.source.open() as source:
            return source.schema().cursor_type
    except ReindexError as error:
        log.warning("How fresh stream %r is was not published: %s", stream.name, error)
        return None


def publish_failure(context: Any) -> None:
    """The XCom ``reindex_failure`` of a task that has failed: its ``message``, with ``stream``, ``try_number`` and ``at``. The
    ``on_failure_callback`` of the operators."""
    _publish_failure(context, again=False)


def _publish_failure(context: Any, *, again: bool) -> None:
    task: Any = context["task"]
    Measured(task.stream, task.mode).failed(again=again)
    ti, error = context["ti"], context.get("exception")
    if error is None:
        return
    message = " ".join(str(error).split())[:_MOST_CHARS] or type(error).__name__
    at = utc_now().isoformat(timespec="milliseconds")
    value = {"stream": task.stream.name, "message": message, "try_number": ti.try_number, "at": at}
    try:
        ti.xcom_push(key=FAILURE_KEY, value=value)
        if task.tells_events and not again:
            _keep_failure(context, {**value, "dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id})
    except Exception as failed:
        log.warning("Why the task failed was not published: %s", failed)


def _keep_failure(context: Any, failure: dict[str, Any]) -> None:
    """In the state of the stream's asset, where a watch finds it without knowing the run. Of several in one run the first one
    says why; the others fail for it."""
    state = context["asset_state_store"][context["task"].stream.asset]
    kept = state.get(FAILURE_KEY)
    if not isinstance(kept, dict) or (kept.get("dag_id"), kept.get("run_id")) != (failure["dag_id"], failure["run_id"]):
        state.set(FAILURE_KEY, failure)
