"""The progress hook at the one edge that no real Airflow shows on demand: a process that an older try left behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_reindex_provider.core.model import Batch, Counts, Position, Window
from airflow_reindex_provider.core.progress import Progress, Status
from airflow_reindex_provider.core.published import PROGRESS_KEY
from airflow_reindex_provider.hooks.progress import ReindexProgressHook

pytestmark = pytest.mark.versions

BATCH = Batch("items", "items_1", 3, 5, Window(None, Position("100")), 20)


@dataclass
class TaskInstance:
    """As Airflow's, with its XComs in a dict that tries share. `refuses`: pushing fails, as after the end of the task."""

    try_number: int = 1
    map_index: int | None = 3
    xcoms: dict[tuple[str, str, int], Any] = field(default_factory=dict)
    refuses: bool = False
    dag_id: str = "reindex_items"
    run_id: str = "manual"
    task_id: str = "index"

    def xcom_push(self, key: str, value: Any) -> None:
        if self.refuses:
            raise RuntimeError("no longer running")
        self.xcoms[self.task_id, key, self._index(self.map_index)] = value

    def xcom_pull(self, *, task_ids: str, key: str, map_indexes: int) -> Any:
        return self.xcoms.get((task_ids, key, map_indexes))

    @staticmethod
    def _index(map_index: int | None) -> int:
        return -1 if map_index is None else map_index

    @property
    def shown(self) -> Any:
        return self.xcoms.get((self.task_id, PROGRESS_KEY, self._index(self.map_index)))


def test_a_record_is_shown_with_its_try():
    """What is reported is the XCom of the task instance, with the number of the try."""
    ti = TaskInstance(try_number=2)

    ReindexProgressHook(ti).report({"processed": 7})

    assert ti.shown == {"processed": 7, "try_number": 2}


def test_a_newer_try_replaces_the_figures_of_an_older_one():
    """A retry shows its own figures, also where they are smaller."""
    old = TaskInstance(try_number=1)
    new = TaskInstance(try_number=2, xcoms=old.xcoms)
    ReindexProgressHook(old).report({"processed": 9})

    ReindexProgressHook(new).report({"processed": 4})

    assert new.shown == {"processed": 4, "try_number": 2}


def test_a_stale_try_keeps_quiet():
    """A process of an older try changes nothing once a newer one has reported, and does not begin again when the newer
    figures are dropped."""
    old = TaskInstance(try_number=1)
    new = TaskInstance(try_number=2, xcoms=old.xcoms)
    stale = ReindexProgressHook(old)
    stale.report({"processed": 9})
    ReindexProgressHook(new).report({"processed": 4})

    stale.report({"processed": 10})
    assert new.shown == {"processed": 4, "try_number": 2}

    new.xcoms.clear()
    stale.report({"processed": 11})
    assert new.shown is None


@pytest.mark.parametrize("map_index", [None, -1, 0, 3])
def test_other_task_instances_do_not_count(map_index: int | None):
    """Newer tries of other mapped instances of the task do not silence this one."""
    other = TaskInstance(try_number=5, map_index=4)
    mine = TaskInstance(try_number=1, map_index=map_index, xcoms=other.xcoms)
    ReindexProgressHook(other).report({"processed": 1})

    ReindexProgressHook(mine).report({"processed": 2})

    assert mine.shown == {"processed": 2, "try_number": 1}


def test_what_is_no_record_is_replaced():
    """An XCom of that name which holds something else does not stop the reports."""
    ti = TaskInstance()
    ti.xcom_push(PROGRESS_KEY, "by hand")

    ReindexProgressHook(ti).report({"processed": 2})

    assert ti.shown["processed"] == 2


def test_a_failure_to_report_does_not_reach_the_work():
    """When Airflow takes no XCom, counting goes on."""
    progress: Progress = ReindexProgressHook(TaskInstance(refuses=True)).track(BATCH)

    progress.start()
    progress.add(Counts(created=20))
    progress.finish(Status.COMPLETED)

    assert progress.counts.processed == 20


def test_a_tracked_batch_reports_its_own_record():
    """`track` counts the batch given, in its mode."""
    ti = TaskInstance()
    progress = ReindexProgressHook(ti).track(BATCH)

    progress.start()
    progress.add(Counts(created=15, updated=5))
    progress.finish(Status.COMPLETED)

    expected = {
        "stream": "items",
        "mode": "incremental",
        "batch": 3,
        "status": "completed",
        "processed": 20,
        "total": 20,
    }
    assert expected.items() <= ti.shown.items()
