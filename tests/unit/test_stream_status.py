"""How a stream is, from runs made by hand: the record that every door shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from airflow.sdk import DAG
from metadata import Metadata
from streams_of_rest import dags, stream

from airflow_reindex_provider import ReindexTaskGroup, TableCheckpoint
from airflow_reindex_provider.control.status import streams
from airflow_reindex_provider.control.status.records import RunState, RunStatus, StreamStatus
from airflow_reindex_provider.control.status.streams import list_status, run_of_stream, stream_status

pytestmark = pytest.mark.versions

HOUR = timedelta(hours=1)
CLOSED = ("checkpoint", -1)


def standing(fresh_until: datetime | None = None, **more: Any) -> dict[tuple[str, int, str], Any]:
    """What a closing task publishes, of this moment unless it is told otherwise."""
    now = datetime.now(UTC)
    record = {"stream": "items", "at": now.isoformat(), "fresh_until": (fresh_until or now).isoformat()}
    return {(*CLOSED, "reindex_standing"): {**record, "documents": 7, "generations": [], **more}}


def failure(message: str, task: str = "extract") -> dict[tuple[str, int, str], Any]:
    at = datetime.now(UTC).isoformat()
    return {(task, -1, "reindex_failure"): {"message": message, "try_number": 1, "at": at}}


def status(metadata: Metadata) -> StreamStatus:
    now = datetime.now(UTC)
    with metadata.session() as session, patch.object(streams, "utc_now", lambda: now):
        found = stream_status(session, "items")
        (listed,) = list_status(session)
    assert found is not None
    same = ("state", "message", "reindexing", "freshness", "last_success", "last_failure", "documents")
    for name in same:
        got, wanted = getattr(listed, name), getattr(found, name)
        assert got == wanted, f"the list and the stream's page differ in {name}"
    return found


def one_run(metadata: Metadata, dag_id: str, run_id: str) -> RunStatus:
    with metadata.session() as session:
        found = run_of_stream(session, "items", dag_id, run_id)
    assert found is not None
    return found


@pytest.fixture
def items(metadata: Metadata) -> Metadata:
    metadata.beat()
    metadata.parse(*dags(stream()))
    return metadata


def test_a_stream_without_a_run(items: Metadata) -> None:
    found = status(items)
    assert (found.state, found.message) == ("idle", "No run has ended yet.")
    assert (found.run, found.recent, found.freshness.at_most_s, found.documents) == (None, (), None, None)


@pytest.mark.parametrize(
    ("dag_id", "task", "state", "reindexing"),
    [
        ("reindex_items", "extract", "reindexing", True),
        ("rebuild_items", "prepare", "rebuilding", True),
        ("sweep_items", "plan", "sweeping", False),
    ],
)
def test_what_is_under_way(items: Metadata, dag_id: str, task: str, state: str, reindexing: bool) -> None:
    items.run(dag_id, "running")
    found = status(items)
    assert (found.state, found.reindexing) == (state, reindexing)
    assert found.run is not None
    assert found.run.dag_id == dag_id


def test_a_run_without_a_scheduler_is_shown_as_what_it_is(metadata: Metadata) -> None:
    """As long as something is under way: else there is nothing that ought to move."""
    metadata.parse(*dags(stream()))
    metadata.beat(ago_s=600)
    assert status(metadata).message == "No run has ended yet."
    metadata.run("reindex_items", "running")
    found = status(metadata)
    assert found.state == "reindexing"
    assert found.message.startswith("Nothing moves: no scheduler of Airflow is alive (the last was heard at 20")
    metadata.beat()
    assert status(metadata).message == "Plans."


def test_a_rollback_that_cannot_be_says_nothing_of_the_stream(items: Metadata) -> None:
    """A generation of that name is not there: all is as it was, and whoever asked for it is told."""
    items.run("rebuild_items", "success")
    items.run("rebuild_items", "failed", conf={"rollback_to": "gone"}, xcoms=failure("there is no gone", "prepare"))
    found = status(items)
    assert found.state == "idle"
    assert found.last_failure is not None
    assert found.last_failure.reason == "there is no gone"


def test_what_only_looks_is_no_reindexing(items: Metadata) -> None:
    """A look under way leaves the stream what it is, and one that ended is not its last success."""
    good = items.run("reindex_items", xcoms=standing())
    items.run("reindex_items", conf={"action": "look"})
    items.run("reindex_items", "running", conf={"action": "check"})
    found = status(items)
    assert (found.state, found.reindexing) == ("idle", False)
    assert found.run is not None
    assert found.run.mode == "check"
    assert found.last_success is not None
    assert found.last_success.run_id == good


def test_a_look_does_not_hide_that_runs_fail(items: Metadata) -> None:
    items.run("reindex_items", "failed", xcoms=failure("no such table"))
    items.run("reindex_items", conf={"action": "look"})
    items.run("sweep_items")
    found = status(items)
    assert (found.state, found.message) == ("failing", "no such table")
    items.run("reindex_items", xcoms=standing())
    assert status(items).state == "idle"


def test_a_failed_act_is_no_failing_stream(items: Metadata) -> None:
    """It is the last failure, with its reason."""
    items.run("reindex_items", xcoms=standing())
    items.run("reindex_items", "failed", conf={"action": "rename"}, xcoms=failure("the name is taken"))
    found = status(items)
    assert found.state == "idle"
    assert found.last_failure is not None
    assert (found.last_failure.mode, found.last_failure.reason) == ("rename", "the name is taken")


def test_what_ran_long_ago_is_known_while_all_runs_fail(items: Metadata) -> None:
    """Freshness keeps growing from the last run that closed, however many have failed since."""
    now = datetime.now(UTC)
    good = items.run("reindex_items", began=now - 200 * HOUR, xcoms=standing(now - 200 * HOUR))
    for number in range(60):
        items.run("reindex_items", "failed", began=now - (60 - number) * HOUR)
    found = status(items)
    assert found.state == "failing"
    assert found.freshness.at_most_s is not None
    assert 200 * 3600 <= found.freshness.at_most_s < 201 * 3600
    assert found.documents == 7
    assert found.last_success is not None
    assert found.last_success.run_id == good
    assert good not in [run.run_id for run in found.recent]
    assert len(found.recent) == 50


def test_a_task_that_was_killed_without_a_word(items: Metadata) -> None:
    """Nothing was published by it: its run says which task it was, in the list too."""
    tasks = {("extract", -1): "success", ("index", 0): "failed", ("index", 1): "success"}
    run_id = items.run("reindex_items", "failed", tasks=tasks)
    found = status(items)
    assert found.state == "failing"
    assert found.message == "Task 'index' failed without a word; its log may say why."
    assert one_run(items, "reindex_items", run_id).reason == found.message


def test_a_cancelled_run(items: Metadata) -> None:
    """By one of our doors: what had not begun is cancelled too, and the stream is not failing."""
    tasks = {("index", 0): "failed", ("index", 1): "failed", CLOSED: "skipped"}
    progress = {"stream": "items", "status": "cancelled", "total": 10, "processed": 4, "message": "Stopped."}
    run_id = items.run(
        "reindex_items",
        "failed",
        tasks=tasks,
        xcoms={("index", 0, "reindex_progress"): progress},
        note="Cancelled by anna at 2026-11-27 20:00:00 UTC.",
    )
    found = status(items)
    assert (found.state, found.last_failure) == ("idle", None)
    run = one_run(items, "reindex_items", run_id)
    assert (run.state, run.message) == (RunState.CANCELLED, "Cancelled by anna at 2026-11-27 20:00:00 UTC.")
    assert [(batch.map_index, batch.status) for batch in run.batches] == [(0, "cancelled"), (1, "cancelled")]


@pytest.mark.parametrize("closed", [False, True])
def test_what_a_stopped_run_has_done(items: Metadata, closed: bool) -> None:
    """What was acknowledged counts, whether or not a closing task has summed up the batches that ended; in the list too."""
    done = {"stream": "items", "status": "completed", "total": 10, "processed": 10}
    stopped = {"stream": "items", "status": "cancelled", "total": 10, "processed": 4}
    xcoms = {
        ("extract", -1, "reindex_plan"): {"stream": "items", "rows": 30},
        ("index", 0, "reindex_progress"): done,
        ("index", 1, "reindex_progress"): stopped,
    }
    if closed:
        xcoms |= {(*CLOSED, "reindex_run"): {"stream": "items", "processed": 10, "total": 30}}
    run_id = items.run(
        "reindex_items",
        "failed",
        tasks={("index", 1): "failed", ("index", 2): "failed"},
        xcoms=xcoms,
        note="Cancelled.",
    )
    run = one_run(items, "reindex_items", run_id)
    assert (run.state, run.indexed_count, run.total_count, run.progress) == (RunState.CANCELLED, 14, 30, 0.4667)
    listed = status(items).recent[0]
    assert (listed.state, listed.indexed_count, listed.total_count) == (run.state, run.indexed_count, run.total_count)


def test_a_run_that_airflows_own_page_stopped(items: Metadata) -> None:
    """There is no note of ours; its tasks have said it. The list says what the run's page says."""
    progress = {"stream": "items", "status": "cancelled", "total": 10, "processed": 4, "message": "Stopped."}
    run_id = items.run(
        "reindex_items",
        "failed",
        tasks={("index", 0): "failed"},
        xcoms={("index", 0, "reindex_progress"): progress},
    )
    found = status(items)
    assert found.recent[0].state == one_run(items, "reindex_items", run_id).state == RunState.CANCELLED


def test_behind_and_paused(items: Metadata) -> None:
    """Behind is more than two intervals and a minute; a paused stream that is fresh is paused."""
    now = datetime.now(UTC)
    items.run("reindex_items", xcoms=standing(now - timedelta(minutes=115)))
    items.change_dag("reindex_items", is_paused=True)
    assert status(items).state == "paused"
    items.run("reindex_items", xcoms=standing(now - timedelta(minutes=123)))
    found = status(items)
    assert found.state == "behind"
    assert found.message.startswith("Changes may be as old as 7,")


def test_approval_comes_first(items: Metadata) -> None:
    run_id = items.run("rebuild_items", "running", tasks={("approve", -1): "deferred"})
    items.ask("rebuild_items", run_id, "approve")
    items.run("reindex_items", "running")
    found = status(items)
    assert found.state == "waiting for approval"
    assert found.message == "Promote?"


def test_two_streams_in_one_dag(metadata: Metadata) -> None:
    """What a run publishes belongs to the stream it names, and an act for the other one is not this one's run."""
    with DAG("both", schedule=None) as dag:
        ReindexTaskGroup(stream("items"), group_id="first")
        ReindexTaskGroup(stream("items_old"), group_id="second")
    metadata.parse(dag)
    both = {
        ("first.extract", -1, "reindex_plan"): {"stream": "items", "rows": 3},
        ("second.extract", -1, "reindex_plan"): {"stream": "items_old", "rows": 5},
    }
    metadata.run("both", xcoms=both)
    metadata.run("both", "running", conf={"action": "look", "stream": "items_old"})
    with metadata.session() as session:
        first, second = stream_status(session, "items"), stream_status(session, "items_old")
    assert first is not None
    assert second is not None
    assert (first.run, first.total_count) == (None, 3)
    assert second.run is not None
    assert (second.run.mode, second.recent[1].total_count) == ("look", 5)


def test_a_stream_goes_with_its_last_dag(items: Metadata) -> None:
    for number, dag_id in enumerate(("reindex_items", "rebuild_items", "sweep_items")):
        assert len(status(items).dags) == 3 - number
        items.change_dag(dag_id, is_stale=True)
    with items.session() as session:
        assert stream_status(session, "items") is None
        assert list_status(session) == []


def test_a_new_version_of_a_dag_counts(items: Metadata) -> None:
    """What was read of the one before is not shown any more."""
    assert status(items).store == "VariableCheckpoint"
    items.run("reindex_items")
    items.parse(*dags(stream(checkpoint=TableCheckpoint("search_db")), schedule="@daily"))
    assert status(items).store == "TableCheckpoint"
