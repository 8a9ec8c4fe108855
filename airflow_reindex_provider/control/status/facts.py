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
from airflow.utils.state import State
from sqlalchemy import func, select

from airflow_reindex_provider.core.published import (
    ACTION_KEY,
    FAILURE_KEY,
    OUTCOME_KEY,
    PLAN_KEY,
    PROGRESS_KEY,
    STANDING_KEY,
    SWEEP_KEY,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

OF_RUNS = (PLAN_KEY, OUTCOME_KEY, SWEEP_KEY, STANDING_KEY, FAILURE_KEY, ACTION_KEY)
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
    tasks and progress too. Five statements.

    :param newest: runs of each Dag; runs that are not over are among them, however many there are."""
    if not dag_ids:
        return []
    place = func.row_number().over(partition_by=DagRun.dag_id, order_by=DagRun.id.desc()).label("place")
    placed = select(DagRun.id, DagRun.state, place).where(DagRun.dag_id.in_(list(dag_ids))).subquery()
    wanted = select(placed.c.id).where((placed.c.place <= newest) | placed.c.state.in_(("queued", "running")))
    runs = _runs(session, wanted)
    _add_published(session, runs, OF_RUNS)
    _add_tasks(session, [run for run in runs if not run.is_over])
    return runs


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
    runs = _runs(session, select(wanted.c.id))
    _add_published(session, runs, OF_RUNS)
    _add_tasks(session, [run for run in runs if not run.is_over])
    return runs, total or 0


def run_of(session: Session, dag_id: str, run_id: str) -> RunFacts | None:
    """One run, with its tasks and their progress."""
    runs = _runs(session, select(DagRun.id).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    _add_published(session, runs, OF_RUNS)
    _add_tasks(session, runs)
    return runs[0] if runs else None


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
        .where(XComModel.dag_run_id.in_(list(by_id)), XComModel.key.in_(tuple(keys)))
        .order_by(XComModel.timestamp)
    )
    for row in rows:
        by_id[row.dag_run_id].published.append(
            Published(row.task_id, row.map_index, row.key, _plain(row.value), row.timestamp)
        )


def _add_tasks(session: Session, runs: Sequence[RunFacts]) -> None:
    _add_published(session, runs, (PROGRESS_KEY,))
    by_run = {(run.dag_id, run.run_id): run for run in runs}
    if not by_run:
        return
    rows = session.execute(
        select(
            TaskInstance.dag_id,
            TaskInstance.run_id,
            TaskInstance.task_id,
            TaskInstance.map_index,
            TaskInstance.state,
            TaskInstance.try_number,
            TaskInstance._rendered_map_index,
            HITLDetail.subject,
            HITLDetail.responded_at,
        )
        .outerjoin(HITLDetail, HITLDetail.ti_id == TaskInstance.id)
        .where(
            TaskInstance.dag_id.in_({dag_id for dag_id, _ in by_run}),
            TaskInstance.run_id.in_({run_id for _, run_id in by_run}),
        )
        .order_by(TaskInstance.task_id, TaskInstance.map_index)
    )
    for dag_id, run_id, task_id, map_index, state, try_number, label, subject, responded_at in rows:
        if run := by_run.get((dag_id, run_id)):
            asked = subject if responded_at is None and state not in State.finished else None
            run.tasks.append(TaskFacts(task_id, map_index, state and str(state), try_number, label, asked))


def _plain(value: Any) -> Any:
    """An XCom's value as a task gave it: Airflow writes JSON into a JSON column."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    return value
