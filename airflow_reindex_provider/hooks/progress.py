"""Live progress of a running task, as an XCom that the UI, REST and other tasks can read at once."""

from __future__ import annotations

from typing import Any, Protocol

from airflow.sdk import BaseHook

from airflow_reindex_provider.core.model import Batch
from airflow_reindex_provider.core.progress import Progress, as_shown
from airflow_reindex_provider.core.published import PROGRESS_KEY


class _TaskInstance(Protocol):
    dag_id: str
    run_id: str
    task_id: str
    map_index: int | None
    try_number: int

    def xcom_push(self, key: str, value: Any) -> None: ...

    def xcom_pull(self, *args: Any, **kwargs: Any) -> Any: ...


class ReindexProgressHook(BaseHook):
    """Writes progress records into the XCom ``reindex_progress`` of the running task instance.

    The record is that of :class:`~airflow_reindex_provider.core.progress.Progress`, with ``try_number``. A process that an
    older try left behind sees the newer one's figures there and keeps quiet from then on. Reporting is best effort: the
    ``Progress`` that feeds the hook keeps to one report a second and turns a failure to report into a log line.

    :param task_instance: ``context["ti"]``.
    """

    def __init__(self, task_instance: _TaskInstance) -> None:
        super().__init__()
        self._task_instance = task_instance
        self._outdated = False

    def report(self, record: dict[str, Any]) -> None:
        """Make this the task's progress, unless a newer try has written its own."""
        ti = self._task_instance
        if self._outdated:
            return
        map_index = -1 if ti.map_index is None else ti.map_index
        shown = ti.xcom_pull(task_ids=ti.task_id, key=PROGRESS_KEY, map_indexes=map_index)
        if isinstance(shown, dict) and shown.get("try_number", 0) > ti.try_number:
            self._outdated = True
            self.log.warning("Try %d reports no more: try %d runs already.", ti.try_number, shown["try_number"])
            return
        ti.xcom_push(key=PROGRESS_KEY, value={**record, "try_number": ti.try_number})

    def track(self, batch: Batch) -> Progress:
        """A counter for one batch that reports here."""
        return Progress(batch, batch.mode, self)

    def close(self, *, task_id: str, map_index: int) -> None:
        """Mark another task instance of the run as failed where it shows itself as running, though it has ended: a killed
        one had no time to say so. Best effort, as all reports."""
        from airflow.sdk.execution_time.xcom import XCom

        ti = self._task_instance
        try:
            shown = ti.xcom_pull(task_ids=task_id, key=PROGRESS_KEY, map_indexes=map_index)
            last = as_shown(shown, task_ended=True) if isinstance(shown, dict) else shown
            if last == shown:
                return
            XCom.set(
                PROGRESS_KEY,
                last,
                dag_id=ti.dag_id,
                task_id=task_id,
                run_id=ti.run_id,
                map_index=map_index,
            )
        except Exception as error:
            self.log.warning("The progress of %s[%d] stays as it is: %s", task_id, map_index, error)
