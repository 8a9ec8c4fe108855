"""A run that is asked to do something else, and what a run publishes of itself, on a real scheduler."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from streams_under_test import until

from airflow_reindex_provider.testing.airflow import Airflow

pytestmark = pytest.mark.overlaps


def test_what_is_done_by_runs(stream):
    """A look, and a parked document that is tried again once its row is mended: such runs end well, index nothing, answer in an
    XCom and publish how the stream stands. One that cannot do it fails, at the first try, and says why."""
    items = stream("acted")
    items.insert(range(20))
    items.insert([20], title="wordy")
    items.run()
    # No change that a run would see by itself.
    items.at_source("UPDATE {} SET title = 'mended' WHERE id = 20")
    items.insert(range(30, 33))

    looked = items.run(action="look")
    answer = looked.xcom("extract", "reindex_action")
    assert (answer["action"], answer["waiting"], answer["ahead"]) == ("look", 3, 0)
    assert 0 <= answer["oldest_s"] < 600
    assert {task: state for (task, _), state in looked.states.items()} == {
        "extract": "success",
        "index": "skipped",
        "checkpoint": "skipped",
    }
    standing = looked.xcom("checkpoint", "reindex_standing")
    assert (standing["documents"], standing["parked"]["count"]) == (20, 1)
    assert datetime.now(UTC) - datetime.fromisoformat(standing["fresh_until"]) < timedelta(minutes=10)
    assert "3 changes wait" in looked.log("extract")

    retried = items.run(action="parked-retry", arguments={"keys": [["20"]]})
    assert retried.xcom("extract", "reindex_action")["count"] == 1
    items.run()
    assert items.index == items.table
    assert items.index[20] == "mended"

    failed = items.start(action="parked-retry", arguments={"keys": [["20"]]}).end("failed")
    assert (failed.states["extract", -1], failed.task("extract")["try_number"]) == ("failed", 1)
    assert "no parked document has the key 20" in failed.xcom("extract", "reindex_failure")["message"]
    assert failed.states["checkpoint", -1] == "failed"
    assert "was not done" in failed.xcom("checkpoint", "reindex_failure")["message"]
    assert failed.xcom("checkpoint", "reindex_standing")["parked"]["count"] == 0


def test_one_of_two_streams_of_a_dag(stream):
    """The tasks of the other one end as skipped, whatever the run does; an action without a name for the stream is done to
    neither."""
    first = stream("pair_a", dag_id="reindex_pair", group="a.")
    stream("pair_b", dag_id="reindex_pair", group="b.")
    first.insert(range(3))
    run = first.run(action="look", stream="pair_a")
    assert run.xcom("extract", "reindex_action")["waiting"] == 3
    assert {run.states[f"b.{task}", -1] for task in ("extract", "index", "checkpoint")} == {"skipped"}

    first.run(stream="pair_a")
    assert first.index == first.table

    vague = first.start(action="look").end("failed")
    assert "which stream the action is about" in vague.xcom("extract", "reindex_failure")["message"]


def test_why_a_task_failed_is_told_until_it_is_mended(stream, airflow: Airflow):
    """The reason is there when the run has failed, and gone once a cleared task has ended well."""
    items = stream("told")
    items.at_source("ALTER TABLE {} RENAME TO told_elsewhere")
    run = items.start().end("failed")
    failure = run.xcom("extract", "reindex_failure")
    assert "no such table or view" in failure["message"]
    assert (failure["try_number"], run.task("extract")["try_number"]) == (1, 1)
    assert timedelta(0) < datetime.now(UTC) - datetime.fromisoformat(failure["at"]) < timedelta(minutes=30)

    items.at_source("ALTER TABLE told_elsewhere RENAME TO {}")
    items.insert(range(3))
    body = {"dag_run_id": run.run_id, "task_ids": ["extract"], "include_downstream": True, "only_failed": False}
    airflow.rest.post(f"/dags/{run.dag_id}/clearTaskInstances", body | {"dry_run": False})
    until(lambda: run.task("extract")["state"] != "failed", "the task to be cleared")
    run.end()
    assert [run.xcom(task, "reindex_failure") for task in ("extract", "checkpoint")] == [None, None]
    assert items.index == items.table
