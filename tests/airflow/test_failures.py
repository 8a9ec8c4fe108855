"""What a crash, a stop, a bad document or a wrong setting leaves behind, and how it goes on from there."""

from __future__ import annotations

import os
import re
import signal
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from streams_under_test import Run, StreamUnderTest, until

from airflow_reindex_provider.testing.airflow import Airflow
from airflow_reindex_provider.testing.postgres import Database, EmbeddedPostgres

pytestmark = pytest.mark.overlaps


def progressed(run: Run, map_index: int, **wanted: Any) -> dict[str, Any]:
    """The first record seen with these values; for `processed`, with at least as many."""

    def look() -> dict[str, Any] | None:
        record = run.progress(map_index)
        least = wanted.get("processed", 0)
        same = {name: value for name, value in wanted.items() if name != "processed"}
        return record if record and record["processed"] >= least and same.items() <= record.items() else None

    return until(look, f"progress {wanted} of {run.dag_id}")


def with_a_slow_middle(items: StreamUnderTest) -> None:
    """Three batches of 100 rows. The second one is slow, and does not end before the brake is released."""
    items.insert(range(300), updated_at="now() - interval '1 h' + id * interval '1 s'")
    items.at_source("UPDATE {} SET title = 'slow' WHERE id BETWEEN 100 AND 199")
    items.at_source("UPDATE {} SET title = 'held' WHERE id = 180")
    items.pull_brake(0.05)


def test_a_killed_task_goes_on(stream):
    """After SIGKILL the next try starts behind the last chunk whose acknowledgement was noted: the rows before are not read
    again, the counts include them, and the index equals the table."""
    items = stream("killed")
    with_a_slow_middle(items)
    run = items.start()
    progressed(run, 1, processed=30)
    # So slow that the next try's first word is read before its second one.
    items.pull_brake(1)
    os.kill(run.task("index", 1)["pid"], signal.SIGKILL)
    goes_on = progressed(run, 1, try_number=2)
    items.release_brake()
    run.end()

    first = 100 + goes_on["processed"]
    assert 100 < first < 200
    # Of so few rows the planner sorts them or takes the index, by what statistics there are yet.
    sorts = r"(; the source sorts [\d,]+ rows before it gives the first one)?"
    assert re.fullmatch(rf"goes on after {goes_on['processed']} rows{sorts}", goes_on["message"])
    before, after = run.transformed(1)
    assert set(range(100, first)) <= set(before)
    assert after == list(range(first, 200))
    assert run.xcom("index", map_index=1)["processed"] == 100
    assert (run.sums["created"] + run.sums["updated"], run.sums["total"]) == (300, 300)
    assert items.index == items.table


def test_a_killed_task_without_retries_does_not_look_running(stream):
    """A task that had no time to say that it ends is shown as failed, with its last figures, once the run has ended; the
    next run starts before it and completes."""
    items = stream("given_up")
    items.insert(range(50), title="slow")
    items.at_source("UPDATE {} SET title = 'held' WHERE id = 40")
    items.pull_brake(0.05)
    run = items.start()
    seen = progressed(run, 0, processed=20)
    os.kill(run.task("index", 0)["pid"], signal.SIGKILL)
    run.end("failed")

    last = run.progress()
    assert (last["status"], last["message"]) == ("failed", "The task ended without a word: it was killed.")
    assert seen["processed"] <= last["processed"] < 50
    assert items.checkpoint_text is None

    items.release_brake()
    again = items.run()
    assert again.window[0] is None
    assert items.index == items.table


def test_a_task_marked_failed_stops_between_two_chunks(stream, airflow: Airflow):
    """Marked failed in the UI, a running task ends its chunk and shows itself as cancelled; the run fails with the
    checkpoint before that batch; cleared, the task goes on where it stopped and the run ends well."""
    items = stream("stopped")
    with_a_slow_middle(items)
    run = items.start()
    progressed(run, 1, processed=20)
    progressed(run, 0, status="completed")
    worker = run.task("index", 1)["pid"]
    airflow.rest.patch(run.path("index", 1), {"new_state": "failed"})
    # What it says when it is asked comes before the end of its chunk.
    progressed(run, 1, status="cancelled")
    items.release_brake()
    until(lambda: not psutil.pid_exists(worker), "the task to end")
    run.end("failed")

    stopped = run.progress(1)
    assert stopped is not None
    assert stopped["status"] == "cancelled"
    assert stopped["processed"] % 10 == 0
    assert 0 < stopped["processed"] < 100
    assert "1 of 3 batches failed" in run.log("checkpoint")
    kept = {key for (key,) in items.at_target("SELECT id FROM {}")}
    assert kept == {*range(100 + stopped["processed"]), *range(200, 300)}
    checkpoint = items.checkpoint
    assert (checkpoint["key"], checkpoint["cursor"]) == (["100"], run.sums["checkpoint_after"]["cursor"])

    body = {"dag_run_id": run.run_id, "task_ids": ["index"], "include_downstream": True, "only_failed": True}
    airflow.rest.post(f"/dags/{run.dag_id}/clearTaskInstances", body | {"dry_run": False})
    until(lambda: run.task("checkpoint")["state"] not in ("failed", "upstream_failed"), "the task to be cleared")
    run.end()

    assert items.index == items.table
    assert items.checkpoint["cursor"] == run.window[1]
    assert run.transformed(1)[1] == list(range(100 + stopped["processed"], 200))
    assert run.xcom("index", map_index=1)["processed"] == 100


def test_a_stopped_run_does_not_look_running(stream, airflow: Airflow):
    """The run is marked failed while a chunk hangs: the process is killed in it and the closing task is skipped, and the last
    record says all the same that the task was asked to stop, with what was acknowledged."""
    items = stream("run_stopped")
    items.insert(range(50), updated_at="now() - interval '1 h' + id * interval '1 s'")
    items.at_source("UPDATE {} SET title = 'held' WHERE id = 30")
    items.pull_brake()
    run = items.start()
    items.wait_until_held()
    airflow.rest.patch(f"/dags/{run.dag_id}/dagRuns/{quote(run.run_id, safe='')}", {"state": "failed"})
    stopped = progressed(run, 0, status="cancelled")
    run.end("failed")

    assert (stopped["message"], stopped["processed"] % 10) == ("asked to stop", 0)
    assert run.states["checkpoint", -1] == "skipped"
    items.release_brake()
    items.run()
    assert items.index == items.table


def test_a_connection_that_is_cut_is_tried_again(stream, search: Database):
    """A backend that is terminated in the middle of a batch costs a try and nothing else."""
    items = stream("cut_off")
    items.insert(range(50))
    items.run()
    items.retitle(range(50), "changed")
    with search.connect() as blocker, blocker.transaction():
        blocker.execute(f"SELECT 1 FROM {items.generations[-1]} WHERE id = 30 FOR UPDATE")
        run = items.start()
        mine = blocker.info.backend_pid
        with search.connect() as other:
            query = "SELECT pid FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
            (pid,) = until(lambda: other.execute(query, [mine]).fetchone(), "the writer to wait for the row")
            other.execute("SELECT pg_terminate_backend(%s)", [pid])
        until(lambda: run.task("index", 0)["try_number"] == 2, "another try")
    run.end()

    assert "TransientError" in run.log("index", 0)
    assert items.index == items.table
    assert run.xcom("index", map_index=0)["processed"] == 50


def test_a_failed_batch_holds_the_checkpoint(stream):
    """More refused documents than `max_failures` fail the batch at the first try; the other batches are kept, the
    checkpoint moves up to the failed one, and the next run goes on from there."""
    items = stream("gap")
    items.insert(range(300), updated_at="now() - interval '1 h' + id * interval '1 s'")
    items.at_source("UPDATE {} SET title = 'bad' WHERE id BETWEEN 150 AND 155")
    failed = items.start().end("failed")

    assert failed.states["index", 1] == "failed"
    assert failed.task("index", 1)["try_number"] == 1
    assert "max_failures=2" in failed.log("index", 1)
    assert "150: the transform raised ValueError: a bad title" in failed.log("index", 1)
    assert failed.progress(1)["status"] == "failed"
    assert "1 of 3 batches failed" in failed.log("checkpoint")
    assert set(range(200, 300)) <= {key for (key,) in items.at_target("SELECT id FROM {}")}
    assert items.checkpoint["key"] == ["100"]
    assert items.checkpoint["parked"] == []

    items.retitle(range(150, 156), "mended")
    went_on = items.run()

    assert went_on.sums["checkpoint_before"] == failed.sums["checkpoint_after"]
    assert went_on.sums["window"]["start"] == failed.sums["checkpoint_after"]
    assert went_on.sums["total"] == 200
    assert items.index == items.table


def test_a_table_that_does_not_exist_fails_at_once(airflow: Airflow):
    """A configuration error is not tried again, though the task has retries."""
    run = Run(airflow, "reindex_no_table", airflow.trigger("reindex_no_table")).end("failed")

    extract = run.task("extract")
    assert (extract["try_number"], extract["max_tries"]) == (1, 3)
    assert "public.no_such_table on connection 'shop_db': there is no such table" in run.log("extract")
    assert run.states["index", -1] == "upstream_failed"
    assert "there is no plan" in run.log("checkpoint")


def test_a_misspelt_key_fails_at_once(airflow: Airflow):
    """It is named, with those that the Dag reads, before anything is looked at; the checkpoint stays."""
    conf = {"start": "2026-01-01T00:00:00Z"}
    run = Run(airflow, "reindex_no_table", airflow.trigger("reindex_no_table", conf=conf)).end("failed")

    assert run.task("extract")["try_number"] == 1
    assert "'start' is perhaps 'window_start'" in run.log("extract")


def test_a_server_that_does_not_answer_is_tried_again(stream, airflow: Airflow, postgres: EmbeddedPostgres):
    """A refused connection is worth another try; once it is mended, the run goes on and ends well."""
    items = stream("mended")
    items.insert([1])
    socket = str(postgres.socket_dir)
    wrong = {
        "connection_id": "mended_db",
        "conn_type": "postgres",
        "login": "postgres",
        "schema": "shop",
        "host": socket,
    }
    airflow.rest.post("/connections", wrong | {"port": 1})
    run = items.start()
    until(lambda: run.task("extract")["try_number"] == 2, "another try")
    airflow.rest.patch("/connections/mended_db", wrong | {"port": 5432})
    run.end()

    assert "the connection 'mended_db' does not answer" in run.log("extract")
    assert items.index == items.table


def test_parked_documents(stream):
    """A document that the transform or the index refuses is parked with key and reason and does not stop the rest; it is
    tried again when due, and released once the row is mended."""
    items = stream("parked")
    items.insert(range(1, 9))
    items.insert([9], title="bad")
    items.insert([10], title="wordy")
    first = items.run()
    assert (first.sums["created"], first.sums["failures"], first.sums["parked"]) == (8, 2, 2)
    assert sorted(items.index) == list(range(1, 9))
    parked = {entry["key"][0]: entry for entry in items.checkpoint["parked"]}
    assert parked["9"]["reason"] == "the transform raised ValueError: a bad title"
    assert "not a number" in parked["10"]["reason"]
    assert {entry["attempts"] for entry in parked.values()} == {1}

    make_due(items)
    again = items.run()
    assert again.task("index", 0)["rendered_map_index"] == "1/1: 2 parked"
    assert [entry["attempts"] for entry in items.checkpoint["parked"]] == [2, 2]

    items.retitle([9, 10], "good")
    make_due(items)
    last = items.run()
    assert last.sums["parked"] == 0
    assert items.checkpoint["parked"] == []
    assert items.index == items.table


def make_due(items: StreamUnderTest) -> None:
    """As a person does it who does not want to wait."""
    value = items.checkpoint
    for entry in value["parked"]:
        entry["next_try_at"] = "2026-01-01T00:00:00+00:00"
    items.edit_checkpoint(value)


def test_a_checkpoint_edited_into_garbage(stream, airflow: Airflow):
    """What cannot be read, or lies ahead of the source's clock, fails at the first try; the error names the Variable and how
    to reset it, and deleting it as it says brings the stream back."""
    items = stream("garbage")
    items.insert([1])
    items.run()
    for edited, message in [
        ("yesterday", "it is not JSON"),
        ({"cursor": "2099-01-01 00:00:00+00"}, "lies ahead of the source's clock"),
    ]:
        items.edit_checkpoint(edited)
        run = items.start().end("failed")
        assert run.task("extract")["try_number"] == 1
        log = run.log("extract")
        assert message in log
        assert f"airflow variables delete '{items.checkpoint_key}'" in log

    airflow.rest.delete(f"/variables/{items.checkpoint_key}")
    run = items.run()

    assert run.window[0] is None
    assert items.index == items.table
