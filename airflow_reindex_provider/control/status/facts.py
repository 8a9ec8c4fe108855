"""What Airflow's metadata database knows of the runs of Dags that carry streams: a fixed number of statements for any number of
Dags."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.models.dagrun import DagRun, DagRunNote
from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.state import State, TaskInstanceState
from sqlalchemy import Integer, bindparam, func, select

from airflow_reindex_provider.core.published import (
    ACTION_KEY,
    FAILURE_KEY,
    GROUP_KEY,
    OUTCOME_KEY,
    PLAN_KEY,
    PROGRESS_KEY,
    STANDING_KEY,
    SWEEP_KEY,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

OF_RUNS = (PLAN_KEY, OUTCOME_KEY, SWEEP_KEY, STANDING_KEY, GROUP_KEY, FAILURE_KEY, ACTION_KEY)
"""What is read of every run that is looked at; progress is read of those alone that are shown with their batches."""


@dataclass(frozen=True, slots=True)
class Published:
    """One XCom. :ivar value: as its task gave it; None where a backend keeps it elsewhere."""

    task_id: str
    map_index: int
    key: str
    value: Any
    at: datetime


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """:ivar state: Airflow's; None before it is scheduled. :ivar approval: what a person is asked, while no one has answered."""

    task_id: str
    map_index: int
    state: str | None
    try_number: int
    label: str | None
    approval: str | None = None


@dataclass(slots=True)
class RunFacts:
    """One run of a Dag."""

    id: int
    dag_id: str
    run_id: str
    state: str
    run_type: str
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    by: str | None
    conf: dict[str, Any]
    note: str | None
    published: list[Published] = field(default_factory=list)
    tasks: list[TaskFacts] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return self.state in ("success", "failed")

    def of_key(self, key: str) -> list[Published]:
        return [p for p in self.published if p.key == key]


def runs_of(session: Session, dag_ids: Collection[str], *, newest: int) -> list[RunFacts]:
    """The newest runs of each Dag, newest first, each with what its tasks have published; those that are not over with their
    tasks and progress too, and those that failed with the tasks that did. Five statements.

    :param newest: runs of each Dag. Besides them come all that are not over, and the last that succeeded and the last that
        failed, however long ago."""
    if not dag_ids:
        return []
    place = func.row_number().over(partition_by=DagRun.dag_id, order_by=DagRun.id.desc()).label("place")
    of_state = (
        func.row_number().over(partition_by=(DagRun.dag_id, DagRun.state), order_by=DagRun.id.desc()).label("of_state")
    )
    placed = select(DagRun.id, DagRun.state, place, of_state).where(DagRun.dag_id.in_(list(dag_ids))).subquery()
    wanted = select(placed.c.id).where(
        (placed.c.place <= newest) | (placed.c.of_state == 1) | placed.c.state.in_(("queued", "running"))
    )
    return _with_all(session, _runs(session, wanted))


def page_of_runs(session: Session, dag_ids: Collection[str], *, limit: int, offset: int) -> tuple[list[RunFacts], int]:
    """Runs of the Dags, newest first, as :func:`runs_of` has them, and how many there are in all."""
    total = session.scalar(select(func.count()).select_from(DagRun).where(DagRun.dag_id.in_(list(dag_ids))))
    wanted = (
        select(DagRun.id)
        .where(DagRun.dag_id.in_(list(dag_ids)))
        .order_by(DagRun.id.desc())
        .limit(limit)
        .offset(offset)
        .subquery()
    )
    return _with_all(session, _runs(session, select(wanted.c.id))), total or 0


def run_of(session: Session, dag_id: str, run_id: str) -> RunFacts | None:
    """One run, with its tasks and their progress."""
    runs = _runs(session, select(DagRun.id).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    _add_published(session, runs, OF_RUNS)
    _add_tasks(session, runs)
    return runs[0] if runs else None


def _with_all(session: Session, runs: list[RunFacts]) -> list[RunFacts]:
    """What their tasks have published and how they are, as far as a run is shown with it."""
    _add_published(session, runs, OF_RUNS)
    failed = [run for run in runs if run.state == "failed"]
    # Where a closing task has summed up what is done, only what it could not count is wanting.
    closed = [run for run in failed if run.of_key(OUTCOME_KEY) or run.of_key(SWEEP_KEY)]
    _add_tasks(session, [run for run in runs if run.state != "success"], only_failed=closed)
    return runs


def _runs(session: Session, ids: Any) -> list[RunFacts]:
    rows = session.execute(
        select(
            DagRun.id,
            DagRun.dag_id,
            DagRun.run_id,
            DagRun.state,
            DagRun.run_type,
            DagRun.queued_at,
            DagRun.start_date,
            DagRun.end_date,
            DagRun.triggering_user_name,
            DagRun.conf,
            DagRunNote.content,
        )
        .outerjoin(DagRunNote, DagRunNote.dag_run_id == DagRun.id)
        .where(DagRun.id.in_(ids))
        .order_by(DagRun.id.desc())
    )
    return [
        RunFacts(
            id=row.id,
            dag_id=row.dag_id,
            run_id=row.run_id,
            state=str(row.state),
            run_type=str(getattr(row.run_type, "value", row.run_type)),
            queued_at=row.queued_at,
            started_at=row.start_date,
            ended_at=row.end_date,
            by=row.triggering_user_name,
            conf=row.conf if isinstance(row.conf, dict) else {},
            note=row.content,
        )
        for row in rows
    ]


def _add_published(session: Session, runs: Sequence[RunFacts], keys: Iterable[str]) -> None:
    by_id = {run.id: run for run in runs}
    if not by_id:
        return
    rows = session.execute(
        select(
            XComModel.dag_run_id,
            XComModel.task_id,
            XComModel.map_index,
            XComModel.key,
            XComModel.value,
            XComModel.timestamp,
        )
        # By run, through the primary key: an index on the key alone leads to every run that there ever was.
        .where(XComModel.dag_run_id.in_(_ids(by_id)), func.coalesce(XComModel.key, "").in_(tuple(keys)))
        .order_by(XComModel.timestamp)
    )
    for row in rows:
        by_id[row.dag_run_id].published.append(
            Published(row.task_id, row.map_index, row.key, _plain(row.value), row.timestamp)
        )


def _add_tasks(session: Session, runs: Sequence[RunFacts], *, only_failed: Sequence[RunFacts] = ()) -> None:
    """With their progress. :param only_failed: runs of which the tasks are taken that failed, and no others."""
    by_id = {run.id: run for run in runs}
    if not by_id:
        return
    whole = by_id.keys() - {run.id for run in only_failed}
    rows = session.execute(
        select(
            DagRun.id,
            TaskInstance.task_id,
            TaskInstance.map_index,
            TaskInstance.state,
            TaskInstance.try_number,
            TaskInstance._rendered_map_index,
            HITLDetail.subject,
            HITLDetail.responded_at,
            XComModel.value,
            XComModel.timestamp,
        )
        .join(DagRun, (DagRun.dag_id == TaskInstance.dag_id) & (DagRun.run_id == TaskInstance.run_id))
        .outerjoin(HITLDetail, HITLDetail.ti_id == TaskInstance.id)
        .outerjoin(
            XComModel,
            (XComModel.dag_run_id == DagRun.id)
            & (XComModel.task_id == TaskInstance.task_id)
            & (XComModel.map_index == TaskInstance.map_index)
            & (XComModel.key == PROGRESS_KEY),
        )
        .where(
            DagRun.id.in_(_ids(by_id)),
            DagRun.id.in_(_ids(whole)) | (TaskInstance.state == TaskInstanceState.FAILED),
        )
        .order_by(TaskInstance.task_id, TaskInstance.map_index)
    )
    for id, task_id, map_index, state, try_number, label, subject, responded_at, progress, at in rows:
        asked = subject if responded_at is None and state not in State.finished else None
        run = by_id[id]
        run.tasks.append(TaskFacts(task_id, map_index, state and str(state), try_number, label, asked))
        if at is not None:
            run.published.append(Published(task_id, map_index, PROGRESS_KEY, _plain(progress), at))


def _ids(ids: Iterable[int]) -> Any:
    """For ``in_``: written into the statement, since databases take a limited number of parameters."""
    return bindparam(None, list(ids), expanding=True, literal_execute=True, type_=Integer())


def _plain(value: Any) -> Any:
    """An XCom's value as a task gave it: Airflow writes JSON into a JSON column."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    return value
