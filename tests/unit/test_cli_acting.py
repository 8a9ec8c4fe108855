"""What the commands that do something start, wait for and refuse, on a metadata database whose runs were made by hand."""

from __future__ import annotations

import pytest
from cli_in_process import items, parse

from airflow_reindex_provider import ReindexDag

pytestmark = pytest.mark.versions


def test_without_a_scheduler_nothing_is_started(metadata, cli):
    """And it is said at once; who does not wait may queue it."""
    parse(metadata, items())
    said = cli("run", "items")
    assert said.code == 4
    assert "No scheduler of Airflow is alive (there never was one)" in said.err
    assert cli("status", "items", "-o", "json").json["recent"] == []
    metadata.beat(ago_s=3600)
    said = cli("run", "items")
    assert (said.code, "the last was heard at" in said.err) == (4, True)
    queued = cli("run", "items", "--no-wait", "-o", "json")
    assert (queued.code, queued.json["created"]) == (0, True)
    again = cli("run", "items", "--no-wait", "-o", "json")
    assert (again.code, again.json) == (0, queued.json | {"created": False})
    assert "does that already" in again.err


def test_a_paused_dag(metadata, cli):
    parse(metadata, items())
    metadata.beat()
    metadata.change_dag("reindex_items", is_paused=True)
    said = cli("run", "items")
    assert (said.code, said.out) == (4, "")
    assert "'reindex_items' is paused" in said.err


def test_the_time_is_up(metadata, cli):
    """The run goes on, and the words say how to see and to end it."""
    parse(metadata, items())
    metadata.beat()
    said = cli("run", "items", "--timeout", "0", "-o", "json")
    assert (said.code, said.out) == (4, "")
    assert "goes on" in said.err
    assert "`airflow reindex status items --watch`" in said.err
    assert cli("status", "items", "-o", "json").json["run"]["state"] == "queued"


def test_another_run_is_in_the_way(metadata, cli):
    parse(metadata, items())
    there = cli("rebuild", "items", "--promote", "wait", "--no-wait", "-o", "json").json
    said = cli("rebuild", "items", "--no-wait")
    assert (said.code, there["run_id"] in said.err) == (3, True)


def test_no_dag_does_it(metadata, cli):
    metadata.parse(ReindexDag(items()))
    said = cli("rebuild", "items", "--no-wait")
    assert said.code == 2
    assert "Add RebuildDag(items) to a Dag file" in said.err


def test_arguments_that_do_not_fit(metadata, cli):
    """Nothing is started: neither what the act does not take, nor what the Dag's form does not."""
    parse(metadata, items())
    for words in (
        ("run", "items", "--window-end", "2026-01-01T00:00:00Z"),
        ("rebuild", "items", "--max-lag-s", "-1"),
        ("rebuild", "items", "--promote", "perhaps"),
    ):
        said = cli(*words, "--no-wait")
        assert (said.code, said.out) == (2, ""), words
        assert said.err
    assert cli("status", "items", "-o", "json").json["recent"] == []


def test_what_cannot_be_undone_is_asked(metadata, cli, monkeypatch):
    """A script says --yes; a person is asked, and no is no."""
    parse(metadata, items())
    said = cli("checkpoint", "reset", "items", "--no-wait")
    assert (said.code, "Give --yes" in said.err) == (2, True)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for typed, code in (("n", 1), ("", 1), ("y", 0)):
        monkeypatch.setattr("builtins.input", lambda prompt, typed=typed: typed)
        said = cli("checkpoint", "reset", "items", "--no-wait")
        assert (said.code, "Forget the checkpoint of items" in said.err) == (code, True)
    assert cli("checkpoint", "reset", "items", "--no-wait", "--yes", "-o", "json").json["created"] is False


def test_a_run_that_has_failed(metadata, cli, monkeypatch):
    """The code says so, and the words say why."""
    from airflow_reindex_provider.cli import starting
    from airflow_reindex_provider.control.steering import Started

    parse(metadata, items())
    metadata.beat()
    failure = {"message": "relation items does not exist", "stream": "items"}
    run_id = metadata.run(
        "reindex_items",
        "failed",
        tasks={("extract", -1): "failed"},
        xcoms={("extract", -1, "reindex_failure"): failure},
    )
    monkeypatch.setattr(starting, "start", lambda *args, **kwargs: Started("reindex_items", run_id, created=True))
    said = cli("run", "items", "-o", "json")
    assert (said.code, said.out) == (1, "")
    assert "is failed: relation items does not exist" in said.err


def test_cancel_and_answer(metadata, cli):
    parse(metadata, items())
    for words in (("cancel", "items"), ("approve", "items"), ("reject", "items", "some_run")):
        assert cli(*words).code == 3
    running = metadata.run("reindex_items", "running", tasks={("index", 0): "running"})
    sweeping = metadata.run("sweep_items", "running")
    both = cli("cancel", "items")
    assert both.code == 2
    assert all(run in both.err for run in (running, sweeping))
    assert cli("cancel", "items", running, "-o", "json").json == [
        {"dag_id": "reindex_items", "run_id": running, "cancelled": True}
    ]
    assert cli("status", "items", "-o", "json").json["recent"][-1]["dag_id"] in ("reindex_items", "sweep_items")
    assert [run["run_id"] for run in cli("cancel", "items", "--all", "-o", "json").json] == [sweeping]

    asking = metadata.run("rebuild_items", "running", tasks={("approve", -1): "deferred"})
    metadata.ask("rebuild_items", asking, "approve")
    assert cli("list", "--state", "waiting for approval", "-o", "json").json[0]["run"]["run_id"] == asking
    answered = cli("reject", "items", "-o", "json").json
    assert answered == {"dag_id": "rebuild_items", "run_id": asking, "task_id": "approve", "approved": False}
    assert cli("approve", "items").code == 3


def test_ctrl_c_ends_the_waiting_alone(metadata, cli, monkeypatch):
    """The words say which run goes on, and how to end it."""
    from airflow_reindex_provider.cli import waiting

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(waiting.time, "sleep", interrupt)
    parse(metadata, items())
    metadata.beat()
    said = cli("run", "items", "-o", "json")
    assert (said.code, said.out) == (130, "")
    run_id = cli("status", "items", "-o", "json").json["run"]["run_id"]
    assert f"Run '{run_id}' of Dag 'reindex_items' goes on." in said.err
    assert "`airflow reindex cancel items` ends it" in said.err


def test_what_holds_a_run_up_is_told_once(metadata, cli, monkeypatch):
    """A Dag that is paused while a command waits, and a database that is away for a moment."""
    from sqlalchemy.exc import OperationalError

    from airflow_reindex_provider.cli import finding, waiting

    parse(metadata, items())
    metadata.beat()
    there = finding.database
    looks = 0

    def away():
        raise OperationalError("SELECT 1", {}, Exception("gone away"))

    def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        metadata.change_dag("reindex_items", is_paused=True)
        monkeypatch.setattr(finding, "database", away if looks in (2, 3) else there)
        if looks == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(waiting.time, "sleep", sleep)
    said = cli("run", "items")
    assert said.code == 130
    assert said.err.count("'reindex_items' was paused: the run waits") == 1
    assert said.err.count("does not answer, and is asked again") == 1
    assert looks == 6
