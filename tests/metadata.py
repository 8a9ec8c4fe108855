"""Airflow's metadata database for tests of those who read it: a real one, with real serialised Dags and runs made by hand."""

from __future__ import annotations

import itertools
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_reindex_provider.testing.folders import one_at_a_time

_numbers = itertools.count(1)
_BUNDLE = "tests"
_EMPTIED = (
    "log",
    "hitl_detail",
    "xcom",
    "task_instance",
    "dag_run_note",
    "dag_run",
    "task_inlet_asset_reference",
    "task_outlet_asset_reference",
    "dag_schedule_asset_reference",
    "asset_active",
    "asset",
    "serialized_dag",
    "dag_code",
    "dag_version",
    "dag_tag",
    "dag_owner_attributes",
    "dag_warning",
    "import_error",
    "dag",
    "job",
)


@pytest.fixture(scope="session")
def migrated(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of the AIRFLOW_HOME of these tests, an SQLite file, with Airflow's tables. They cost ten seconds, so the first
    worker makes them for all of a run."""
    ours = Path(os.environ["AIRFLOW_HOME"], "airflow.db")
    # A worker's folder lies in that of its run.
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if hasattr(pytestconfig, "workerinput") else folder
    with one_at_a_time(folder):
        if (made := folder / "migrated.db").exists():
            _copy(made, ours)
        else:
            command = [sys.executable, "-m", "airflow", "db", "migrate"]
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=400)
            _copy(ours, made)
    return ours


def _copy(database: Path, to: Path) -> None:
    """By SQLite itself: Airflow's is in WAL mode, and one who is connected already would go on with the file that was there."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


@pytest.fixture
def metadata(migrated: Path) -> Iterator[Metadata]:
    """Airflow's metadata database without any Dag; what a test leaves is gone before the next."""
    import sqlalchemy
    from airflow import settings

    yield Metadata()
    with settings.engine.begin() as connection:
        there = set(sqlalchemy.inspect(connection).get_table_names())
        for table in _EMPTIED:
            if table in there:
                connection.execute(sqlalchemy.text(f"DELETE FROM {table}"))


class Metadata:
    """:ivar session: makes a session of Airflow's own."""

    def __init__(self, session: Callable[[], Any] | None = None) -> None:
        from airflow.utils.session import create_session

        self.session = session or (lambda: create_session(scoped=False))

    def parse(self, *dags: Any, session: Any = None) -> None:
        """As Airflow's Dag processor does with those of a file. They are not paused."""
        from airflow.dag_processing.collection import update_dag_parsing_results_in_db
        from airflow.models.dag import DagModel
        from airflow.models.dagbundle import DagBundleModel
        from airflow.models.serialized_dag import SerializedDagModel
        from airflow.serialization.serialized_objects import LazyDeserializedDAG
        from sqlalchemy import update

        with self.session() as session:
            if session.get(DagBundleModel, _BUNDLE) is None:
                session.add(DagBundleModel(name=_BUNDLE))
                session.flush()
            for dag in dags:
                dag.relative_fileloc = f"{dag.dag_id}.py"
            # Airflow does not write a Dag again that it has written in the last half minute.
            session.execute(update(SerializedDagModel).values(last_updated=datetime(2026, 1, 1, tzinfo=UTC)))
            errors: dict[tuple[str, str], str] = {}
            told = [LazyDeserializedDAG.from_dag(dag) for dag in dags]
            update_dag_parsing_results_in_db(_BUNDLE, None, told, errors, 0.1, set(), session)
            assert not errors
            session.execute(
                update(DagModel).where(DagModel.dag_id.in_([d.dag_id for d in dags])).values(is_paused=False)
            )
            session.commit()

    def change_dag(self, dag_id: str, **values: Any) -> None:
        """Columns of its row, such as ``is_paused``."""
        from airflow.models.dag import DagModel
        from sqlalchemy import update

        with self.session() as session:
            session.execute(update(DagModel).where(DagModel.dag_id == dag_id).values(**values))
            session.commit()

    def run(
        self,
        dag_id: str,
        state: str = "success",
        *,
        began: datetime | None = None,
        took_s: float = 60,
        tasks: dict[tuple[str, int], str | None] | None = None,
        xcoms: dict[tuple[str, int, str], Any] | None = None,
        note: str | None = None,
        **columns: Any,
    ) -> str:
        """A run of the Dag, and its id.

        :param tasks: states by task and map index. :param xcoms: by task, map index and key; these tasks have succeeded, unless
            ``tasks`` says otherwise."""
        from airflow.models.dag_version import DagVersion
        from airflow.models.dagrun import DagRun
        from airflow.models.taskinstance import TaskInstance
        from airflow.models.xcom import XComModel
        from sqlalchemy import select

        number = next(_numbers)
        began = began or datetime.now(UTC) - timedelta(minutes=10) + timedelta(milliseconds=number)
        with self.session() as session:
            version = session.scalar(
                select(DagVersion)
                .where(DagVersion.dag_id == dag_id)
                .order_by(DagVersion.version_number.desc())
                .limit(1)
            )
            run = DagRun(
                dag_id=dag_id,
                run_id=columns.pop("run_id", f"manual__{number}"),
                run_type=columns.pop("run_type", "manual"),
                run_after=began,
                queued_at=began,
                start_date=None if state == "queued" else began,
                state=state,
                **columns,
            )
            run.created_dag_version = version
            run.end_date = began + timedelta(seconds=took_s) if state in ("success", "failed") else None
            session.add(run)
            session.flush()
            if note is not None:
                run.note = (note, None)
            dag = version.serialized_dag.dag
            done = {(task_id, map_index): "success" for task_id, map_index, _ in xcoms or {}}
            for (task_id, map_index), task_state in {**done, **(tasks or {})}.items():
                task = TaskInstance(
                    dag.get_task(task_id), dag_version_id=version.id, run_id=run.run_id, map_index=map_index
                )
                task.dag_run = run
                task.state = task_state
                task.try_number = 1
                session.add(task)
            session.flush()
            for (task_id, map_index, key), value in (xcoms or {}).items():
                XComModel.set(
                    key=key,
                    value=value,
                    dag_id=dag_id,
                    task_id=task_id,
                    run_id=run.run_id,
                    map_index=map_index,
                    session=session,
                    serialize=False,
                )
            session.commit()
            return str(run.run_id)

    def ask(self, dag_id: str, run_id: str, task_id: str, **columns: Any) -> None:
        """What an approval task asks, since a minute; its instance waits."""
        from airflow.models.hitl import HITLDetail
        from airflow.models.taskinstance import TaskInstance
        from sqlalchemy import select

        with self.session() as session:
            task = session.scalar(
                select(TaskInstance).where(
                    TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id, TaskInstance.task_id == task_id
                )
            )
            task.state = "deferred"
            values = {"subject": "Promote?", "options": ["Approve", "Reject"], "defaults": None, "multiple": False}
            values["created_at"] = datetime.now(UTC) - timedelta(minutes=1)
            session.add(HITLDetail(ti_id=task.id, **(values | columns)))
            session.commit()

    def beat(self, *, ago_s: float = 0) -> None:
        """The heartbeat of a scheduler."""
        from airflow.jobs.job import Job

        with self.session() as session:
            job = Job(job_type="SchedulerJob", state="running")
            job.latest_heartbeat = datetime.now(UTC) - timedelta(seconds=ago_s)
            session.add(job)
            session.commit()
