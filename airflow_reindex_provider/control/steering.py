"""What the page, the REST API and the command line do to a stream: start, cancel and approve runs in Airflow's database.

Whatever needs the source, the target or a checkpoint store is a run of one of the stream's Dags."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.api.common.mark_tasks import set_dag_run_state_to_failed
from airflow.models.dag import DagModel
from airflow.models.dagbag import DBDagBag
from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import handle_event_submit
from airflow.triggers.base import TriggerEvent
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import select, update

from airflow_reindex_provider.control.acts import ACTION, STREAM
from airflow_reindex_provider.control.carried import REBUILD, REINDEX, SWEEP
from airflow_reindex_provider.control.status.catalogue import CarryingDag, StreamEntry
from airflow_reindex_provider.control.status.runs import CANCELLED_NOTE
from airflow_reindex_provider.core.errors import ReindexError
from airflow_reindex_provider.core.progress import utc_now

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_NAMES = {REINDEX: "ReindexDag", REBUILD: "RebuildDag", SWEEP: "SweepDag"}
APPROVE, REJECT = "Approve", "Reject"
"""The answers that Airflow's approval operator takes."""
SETTLED_S = 5.0
"""Some loops of a scheduler. It fails a task that is answered before it has seen that the task waits ("finished with state
success, but the task instance's state attribute is queued")."""
_WAITING = (TaskInstanceState.AWAITING_INPUT, TaskInstanceState.DEFERRED)


class SteeringError(ReindexError):
    """What was asked for cannot be done; the message says what to do."""


class NotCarriedError(SteeringError):
    """No Dag does this for the stream."""


class DagPausedError(SteeringError):
    """The Dag is paused, so a run of it would wait for ever."""


class ConfRefusedError(SteeringError):
    """The Dag's trigger form does not take what was asked for."""


class NotAskedError(SteeringError):
    """A task asks others than this person."""


class RunConflictError(SteeringError):
    """Another run is under way that does not do what was asked for. :ivar dag_id: of it. :ivar run_id: its id."""

    def __init__(self, message: str, *, dag_id: str, run_id: str) -> None:
        super().__init__(message)
        self.dag_id = dag_id
        self.run_id = run_id


@dataclass(frozen=True, slots=True)
class Started:
    """A run that does what was asked for. :ivar created: False where it was under way already."""

    dag_id: str
    run_id: str
    created: bool


@dataclass(frozen=True, slots=True)
class By:
    """Who asks. :ivar id: of the user, where Airflow knows one."""

    name: str
    through: DagRunTriggeredByType
    id: str | None = None


def carrying(entry: StreamEntry, role: str) -> CarryingDag:
    """:raises NotCarriedError: none of the stream's Dags does this."""
    dag = entry.dag_of(role)
    if dag is None:
        raise NotCarriedError(
            f"No Dag does a {role} of stream {entry.name!r}. Add {_NAMES[role]}({entry.name}) to a Dag file, with the Stream"
            " that its other Dags have."
        )
    return dag


def start(session: Session, entry: StreamEntry, role: str, conf: Mapping[str, Any], *, by: By) -> Started:
    """A run of the stream's Dag for the role, with the conf; or the one that is under way with the same conf already. Of two
    that ask in the same moment, both get the same run: the second waits for the first one's commit. The caller commits, soon.

    :raises NotCarriedError: no Dag has the role. :raises DagPausedError: it is paused, or has import errors.
    :raises RunConflictError: a run with another conf is under way, where only one of the Dag may be.
    :raises ConfRefusedError: the Dag does not take the conf."""
    dag = carrying(entry, role)
    asked = {key: value for key, value in conf.items() if value is not None}
    if len(dag.streams) > 1:
        asked[STREAM] = entry.name
    if dag.has_import_errors:
        raise DagPausedError(
            f"The file of Dag {dag.dag_id!r} cannot be imported: see Airflow's import errors. Mend it first."
        )
    if dag.paused:
        raise DagPausedError(
            f"Dag {dag.dag_id!r} is paused, so no run of it starts. Unpause it first, in Airflow or by `airflow dags unpause"
            f" {dag.dag_id}`."
        )
    _one_at_a_time(session, dag.dag_id)
    if there := _under_way(session, dag.dag_id, asked):
        return there
    serialised = DBDagBag().get_latest_version_of_dag(dag.dag_id, session=session)
    if serialised is None:
        raise NotCarriedError(f"Dag {dag.dag_id!r} is gone.")
    what = str(asked.get(ACTION) or ("rollback" if asked.get("rollback_to") else role))
    now = utc_now()
    run_id = f"manual__{what}_{now:%Y%m%dT%H%M%S_%f}"
    try:
        serialised.create_dagrun(
            run_id=run_id,
            run_after=now,
            conf=asked,
            run_type=DagRunType.MANUAL,
            triggered_by=by.through,
            triggering_user_name=by.name,
            state=DagRunState.QUEUED,
            session=session,
        )
    except ValueError as error:
        raise ConfRefusedError(f"Dag {dag.dag_id!r} does not take this: {error}") from error
    _audit(session, "trigger_dag_run", by, dag.dag_id, run_id, stream=entry.name, conf=asked)
    return Started(dag.dag_id, run_id, created=True)


def _one_at_a_time(session: Session, dag_id: str) -> None:
    """Until the commit, nobody else is past this for the Dag. A statement that writes takes its row in every database; SQLite
    knows no other lock, and takes it before the transaction has read what would be stale by then.

    :raises SteeringError: the Dag allows no runs by hand."""
    session.execute(
        update(DagModel)
        .where(DagModel.dag_id == dag_id)
        .values(dag_id=DagModel.dag_id)
        .execution_options(synchronize_session=False)
    )
    allowed = session.scalar(select(DagModel.allowed_run_types).where(DagModel.dag_id == dag_id))
    if allowed is not None and DagRunType.MANUAL not in allowed:
        raise SteeringError(
            f"Dag {dag_id!r} allows no runs by hand. Add DagRunType.MANUAL to allowed_run_types in its file."
        )


def _under_way(session: Session, dag_id: str, asked: Mapping[str, Any]) -> Started | None:
    """:raises RunConflictError: it does something else."""
    rows = session.execute(
        select(DagRun.run_id, DagRun.conf)
        .where(DagRun.dag_id == dag_id, DagRun.state.in_(("queued", "running")), DagRun.backfill_id.is_(None))
        .order_by(DagRun.id)
    ).all()
    for run_id, conf in rows:
        if {key: value for key, value in (conf or {}).items() if value is not None} == asked:
            return Started(dag_id, run_id, created=False)
    most = session.scalar(select(DagModel.max_active_runs).where(DagModel.dag_id == dag_id))
    # What only looks waits for its turn; a rebuild or a sweep with other arguments is another one's decision.
    if rows and most == 1 and not asked.get(ACTION):
        raise RunConflictError(
            f"Run {rows[0].run_id!r} of Dag {dag_id!r} is under way, with other arguments. Let it end, or cancel it.",
            dag_id=dag_id,
            run_id=rows[0].run_id,
        )
    return None


def cancel(session: Session, dag_id: str, run_id: str, *, by: By) -> bool:
    """End a run: its tasks stop between two chunks, and what is acknowledged stays. False where it is over already. The caller
    commits."""
    run = session.scalar(
        select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id).with_for_update(of=DagRun)
    )
    if run is None or run.state not in (DagRunState.QUEUED, DagRunState.RUNNING):
        return False
    serialised = DBDagBag().get_dag_for_run(run, session=session)
    if serialised is None:
        raise NotCarriedError(f"Dag {dag_id!r} is gone.")
    set_dag_run_state_to_failed(dag=serialised, run_id=run_id, commit=True, session=session)
    run.note = (f"{CANCELLED_NOTE} by {by.name} at {utc_now():%Y-%m-%d %H:%M:%S} UTC.", by.id)
    _audit(session, "patch_dag_run", by, dag_id, run_id, state=str(DagRunState.FAILED), cancelled=True)
    return True


def answer(
    session: Session,
    dag_id: str,
    run_id: str,
    *,
    approve: bool,
    by: By,
    may_answer: Callable[[Collection[str]], bool] = lambda assigned: True,
) -> str:
    """Answer the question that a run asks; returns the task that asked. The caller commits. A question that was put a moment ago
    is answered when it is ``SETTLED_S`` old.

    :param may_answer: whether this person may, by the ids of those whom the task asks; none is everybody.
    :raises SteeringError: it asks nothing, or something else than whether to go on.
    :raises NotAskedError: others are asked."""
    asking = session.execute(
        select(TaskInstance.id, HITLDetail.created_at)
        .join(HITLDetail, HITLDetail.ti_id == TaskInstance.id)
        .where(
            TaskInstance.dag_id == dag_id,
            TaskInstance.run_id == run_id,
            TaskInstance.state.in_(_WAITING),
            HITLDetail.responded_at.is_(None),
        )
        .order_by(TaskInstance.task_id, TaskInstance.map_index)
    )
    nobody = SteeringError(f"Run {run_id!r} of Dag {dag_id!r} waits for nobody's answer: it was answered, or is over.")
    first = next(iter(asking), None)
    if first is None:
        raise nobody
    ti_id, asked_at = first
    time.sleep(max(0.0, min(SETTLED_S, SETTLED_S - (utc_now() - asked_at).total_seconds())))
    # In the order in which Airflow takes them. Two may answer in the same moment, and the task may end meanwhile.
    task = session.get(TaskInstance, ti_id, with_for_update={"of": TaskInstance}, populate_existing=True)
    detail = session.scalar(
        select(HITLDetail)
        .where(HITLDetail.ti_id == ti_id)
        .with_for_update(of=HITLDetail)
        .execution_options(populate_existing=True)
    )
    if task is None or detail is None or task.state not in _WAITING or detail.responded_at is not None:
        raise nobody
    if not may_answer({asked["id"] for asked in detail.assigned_users}):
        raise NotAskedError(f"Task {task.task_id!r} asks others than {by.name!r}: its Dag says whom.")
    option = APPROVE if approve else REJECT
    if option not in detail.options:
        raise SteeringError(
            f"Task {task.task_id!r} asks something else than whether to go on. Answer it in Airflow, on the task's page."
        )
    detail.responded_by = {"id": by.id or by.name, "name": by.name}
    detail.responded_at = utc_now()
    detail.chosen_options = [option]
    detail.params_input = {}
    event = TriggerEvent(detail.as_resume_event_payload())  # type: ignore[no-untyped-call]  # Airflow leaves it untyped
    handle_event_submit(event, task_instance=task, session=session)
    _audit(session, "update_hitl_detail", by, dag_id, run_id, task_id=task.task_id, chosen_options=[option])
    return str(task.task_id)


def _audit(
    session: Session, event: str, by: By, dag_id: str, run_id: str, *, task_id: str | None = None, **more: Any
) -> None:
    """Into Airflow's audit log, under the names that Airflow's own API has for these."""
    of_task: dict[str, Any] = {} if task_id is None else {"task_id": task_id}
    extra = json.dumps({"provider": "airflow-reindex-provider", "through": by.through.value, **more})
    session.add(
        Log(
            event=event, owner=by.name, owner_display_name=by.name, extra=extra, dag_id=dag_id, run_id=run_id, **of_task
        )
    )
