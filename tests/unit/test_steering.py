"""Runs are started, cancelled and answered in Airflow's database: what two people do in the same moment, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from airflow.models.backfill import Backfill
from airflow.models.base import Base
from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.log import Log
from airflow.models.tasklog import LogTemplate
from airflow.utils.types import DagRunTriggeredByType
from metadata import Metadata
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session, sessionmaker
from streams_of_rest import dags, stream

from airflow_reindex_provider.control import steering
from airflow_reindex_provider.control.acts import ACTS
from airflow_reindex_provider.control.status.catalogue import list_streams
from airflow_reindex_provider.control.steering import (
    By,
    ConfRefusedError,
    DagPausedError,
    NotAskedError,
    NotCarriedError,
    RunConflictError,
    Started,
    SteeringError,
    answer,
    cancel,
    start,
)
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.testing.postgres import EmbeddedPostgres

pytestmark = pytest.mark.versions

ANNA = By("anna", DagRunTriggeredByType.REST_API, "1")
PEOPLE = 6


@pytest.fixture(params=["sqlite", "postgres"])
def anywhere(request: pytest.FixtureRequest) -> Iterator[Metadata]:
    """Airflow's metadata in each of two databases."""
    if request.param == "sqlite":
        yield request.getfixturevalue("metadata")
        return
    server: EmbeddedPostgres = request.getfixturevalue("postgres")
    database = server.create_database("metadata")
    engine = create_engine(server.sqlalchemy_url("metadata"))
    try:
        Base.metadata.create_all(engine)
        sessions = sessionmaker(engine, expire_on_commit=False)
        with sessions() as session:
            session.add(LogTemplate(filename="", elasticsearch_id=""))
            session.commit()
        yield Metadata(sessions)
    finally:
        engine.dispose()
        server.drop_database(database.name)


def act(metadata: Metadata, name: str, by: By = ANNA, of: str = "items", **arguments: Any) -> Started:
    with metadata.session() as session:
        wanted = ACTS[name]
        started = start(session, list_streams(session)[of], wanted.role, wanted.conf(arguments), by=by)
        session.commit()
        return started


def at_once(metadata: Metadata, what: list[Callable[[], Started]]) -> list[Any]:
    """What each call gave or raised; they begin in the same moment."""
    ready = Barrier(len(what))

    def call(one: Callable[[], Started]) -> Any:
        ready.wait()
        try:
            return one()
        except SteeringError as error:
            return error

    with ThreadPoolExecutor(len(what)) as pool:
        return list(pool.map(call, what))


def runs(session: Session) -> list[DagRun]:
    return list(session.scalars(select(DagRun).order_by(DagRun.id)))


def test_two_who_press_rebuild_in_the_same_second(anywhere: Metadata) -> None:
    """One rebuild, and all are shown the same run: one of them has made it."""
    anywhere.parse(*dags(stream()))
    found = at_once(anywhere, [lambda: act(anywhere, "rebuild", promote="wait")] * PEOPLE)
    assert {(started.dag_id, started.run_id) for started in found} == {("rebuild_items", found[0].run_id)}
    assert [started.created for started in found].count(True) == 1
    with anywhere.session() as session:
        (run,) = runs(session)
        assert (run.run_id, run.conf, run.state) == (found[0].run_id, {"promote": "wait"}, "queued")
        assert run.triggering_user_name == "anna"
        assert [ti.task_id for ti in run.task_instances]
        assert len(session.scalars(select(Log).where(Log.event == "trigger_dag_run")).all()) == 1


def test_a_rebuild_and_a_rollback_in_the_same_second(anywhere: Metadata) -> None:
    """One of them is made; whoever asked for the other is told of it."""
    anywhere.parse(*dags(stream()))
    found = at_once(
        anywhere,
        [lambda: act(anywhere, "rebuild"), lambda: act(anywhere, "rollback", rollback_to="previous")] * 2,
    )
    with anywhere.session() as session:
        (run,) = runs(session)
        kept = run.run_id
    refused = [one for one in found if isinstance(one, RunConflictError)]
    assert len(refused) == 2
    assert {error.run_id for error in refused} == {kept}
    assert {one.run_id for one in found if isinstance(one, Started)} == {kept}


def test_different_streams_do_not_wait_for_each_other(anywhere: Metadata) -> None:
    """Nor are they taken for one."""
    names = [f"items{number}" for number in range(PEOPLE)]
    for name in names:
        anywhere.parse(*dags(stream(name)))
    found = at_once(anywhere, [lambda name=name: act(anywhere, "run", of=name) for name in names])
    assert [started.dag_id for started in found] == [f"reindex_{name}" for name in names]
    assert all(started.created for started in found)


def test_what_only_looks_waits_for_its_turn(metadata: Metadata) -> None:
    """A run beside the one under way; asked for twice, it is one."""
    metadata.parse(*dags(stream()))
    metadata.run("reindex_items", "running", conf={})
    assert act(metadata, "run").created is False
    look = act(metadata, "look")
    assert (look.created, act(metadata, "look")) == (True, Started("reindex_items", look.run_id, created=False))
    with pytest.raises(RunConflictError, match="is under way, with other arguments"):
        act(metadata, "dry-run")


def test_a_run_of_a_backfill_is_nobodys(metadata: Metadata) -> None:
    """It indexes its own interval: who asks for a run gets another one."""
    metadata.parse(*dags(stream()))
    with metadata.session() as session:
        backfill = Backfill(dag_id="reindex_items", from_date=utc_now(), to_date=utc_now(), max_active_runs=1)
        session.add(backfill)
        session.flush()
        backfill_id = backfill.id
        session.commit()
    metadata.run("reindex_items", "running", conf={}, run_type="backfill", backfill_id=backfill_id)
    assert act(metadata, "run").created is True


def test_what_cannot_start(metadata: Metadata) -> None:
    """Each error says why, and what to do; none leaves a run."""
    reindex, rebuild, _ = dags(stream())
    metadata.parse(reindex, rebuild)
    with pytest.raises(NotCarriedError, match=r"Add SweepDag\(items\)"):
        act(metadata, "sweep")
    with pytest.raises(ConfRefusedError, match="does not take this"):
        act(metadata, "rebuild", promote="some day")
    metadata.change_dag("reindex_items", is_paused=True)
    with pytest.raises(DagPausedError, match=r"Unpause it first.*`airflow dags unpause "):
        act(metadata, "run")
    metadata.change_dag("reindex_items", is_paused=False, has_import_errors=True)
    with pytest.raises(DagPausedError, match="Mend it first"):
        act(metadata, "run")
    metadata.change_dag("reindex_items", has_import_errors=False, allowed_run_types=["scheduled"])
    with pytest.raises(SteeringError, match="allows no runs by hand"):
        act(metadata, "run")
    with metadata.session() as session:
        assert runs(session) == []


def test_cancel(metadata: Metadata) -> None:
    """Its tasks are stopped, what had not begun is skipped, and the note says who it was. A second time changes nothing."""
    metadata.parse(*dags(stream()))
    tasks = {("extract", -1): "success", ("index", 0): "running", ("index", 1): None, ("checkpoint", -1): None}
    run_id = metadata.run("reindex_items", "running", tasks=tasks)
    with metadata.session() as session:
        assert cancel(session, "reindex_items", run_id, by=ANNA) is True
        session.commit()
    with metadata.session() as session:
        (run,) = runs(session)
        assert run.state == "failed"
        assert run.note.startswith("Cancelled by anna at ")
        states = {(ti.task_id, ti.map_index): ti.state for ti in run.task_instances}
        assert states["extract", -1] == "success"
        assert {states["index", 0], states["index", 1]} == {"failed"}
        assert states["checkpoint", -1] == "skipped"
        assert cancel(session, "reindex_items", run_id, by=ANNA) is False
        assert cancel(session, "reindex_items", "never", by=ANNA) is False
        assert [log.owner for log in session.scalars(select(Log).where(Log.run_id == run_id))] == ["anna"]


@pytest.mark.parametrize(("approve", "option"), [(True, "Approve"), (False, "Reject")])
def test_answer(metadata: Metadata, approve: bool, option: str) -> None:
    """The task goes on with it; a second answer is told that it comes too late."""
    metadata.parse(*dags(stream()))
    run_id = metadata.run("rebuild_items", "running", tasks={("approve", -1): "deferred"})
    metadata.ask("rebuild_items", run_id, "approve")
    with metadata.session() as session:
        assert answer(session, "rebuild_items", run_id, approve=approve, by=ANNA) == "approve"
        session.commit()
    with metadata.session() as session:
        (run,) = runs(session)
        (task,) = [ti for ti in run.task_instances if ti.task_id == "approve"]
        assert task.state == "scheduled"
        detail = session.get(HITLDetail, task.id)
        assert (detail.chosen_options, detail.responded_by["name"]) == ([option], "anna")
        with pytest.raises(SteeringError, match="waits for nobody's answer"):
            answer(session, "rebuild_items", run_id, approve=True, by=ANNA)


def test_a_question_of_this_moment_is_answered_a_little_later(metadata: Metadata, monkeypatch) -> None:
    """Before the scheduler has seen that the task waits, it would fail it."""
    monkeypatch.setattr(steering, "SETTLED_S", 0.4)
    metadata.parse(*dags(stream()))
    run_id = metadata.run("rebuild_items", "running", tasks={("approve", -1): "deferred"})
    asked = datetime.now(UTC)
    metadata.ask("rebuild_items", run_id, "approve", created_at=asked)
    with metadata.session() as session:
        answer(session, "rebuild_items", run_id, approve=True, by=ANNA)
        session.commit()
        (detail,) = session.scalars(select(HITLDetail))
        assert detail.responded_at - asked >= timedelta(seconds=0.4)


def test_who_is_not_asked_does_not_answer(metadata: Metadata) -> None:
    metadata.parse(*dags(stream()))
    run_id = metadata.run("rebuild_items", "running", tasks={("approve", -1): "deferred"})
    metadata.ask("rebuild_items", run_id, "approve", assignees=[{"id": "7", "name": "bert"}])
    with metadata.session() as session, pytest.raises(NotAskedError, match="asks others than 'anna'"):
        answer(session, "rebuild_items", run_id, approve=True, by=ANNA, may_answer=lambda ids: ANNA.id in ids)
    bert = By("bert", DagRunTriggeredByType.REST_API, "7")
    with metadata.session() as session:
        answer(session, "rebuild_items", run_id, approve=True, by=bert, may_answer=lambda ids: bert.id in ids)


def test_another_question_is_left_to_airflow(metadata: Metadata) -> None:
    metadata.parse(*dags(stream()))
    run_id = metadata.run("rebuild_items", "running", tasks={("approve", -1): "deferred"})
    metadata.ask("rebuild_items", run_id, "approve", options=["red", "green"])
    with metadata.session() as session, pytest.raises(SteeringError, match="Answer it in Airflow"):
        answer(session, "rebuild_items", run_id, approve=True, by=ANNA)
