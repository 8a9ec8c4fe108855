"""The command line on a real Airflow: the whole story of a stream through it alone."""

from __future__ import annotations

import getpass
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from command_line import CommandLine
from streams_under_test import TIMEOUT_S, StreamUnderTest, until

from airflow_reindex_provider.testing.airflow import Airflow

pytestmark = pytest.mark.overlaps

HOUR_AGO = "now() - interval '1 hour' + id * interval '1 s'"


def status(cli: CommandLine, name: str) -> dict[str, Any]:
    return cli.reindex("status", name, "-o", "json").json


def live(cli: CommandLine, name: str) -> str:
    (found,) = (g["name"] for g in cli.reindex("generations", name, "-o", "json").json if g["live"])
    return found


def ended(cli: CommandLine, name: str, run_id: str, state: str = "completed") -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        runs = [run for run in status(cli, name)["recent"] if run["run_id"] == run_id]
        return runs[0] if runs and runs[0]["state"] in ("completed", "failed", "cancelled") else None

    run = until(look, f"the end of {run_id}")
    assert run["state"] == state, run
    return run


def test_the_story(cli: CommandLine, airflow: Airflow, stream: Callable[..., StreamUnderTest]) -> None:
    """List, run, parked documents, rebuild and approval, rollback, cancel, sweep, exact figures, removal."""
    items = stream("typed")
    items.insert(range(250), updated_at=HOUR_AGO)
    items.at_source("UPDATE {} SET title = 'bad' WHERE id = 7")
    for dag in ("reindex_typed", "rebuild_typed", "sweep_typed"):
        airflow.wait_for_dag(dag)

    # Paused: said at once, and nothing is started.
    assert status(cli, "typed")["state"] == "paused"
    said = cli.reindex("run", "typed", code=4)
    assert "'reindex_typed' is paused" in said.err
    assert status(cli, "typed")["recent"] == []
    for dag in ("reindex_typed", "rebuild_typed", "sweep_typed"):
        cli("dags", "unpause", dag)

    run = cli.reindex("run", "typed", "-o", "json").json
    assert (run["created"], run["state"], run["mode"], run["by"]) == (True, "completed", "reindex", getpass.getuser())
    found = status(cli, "typed")
    assert (found["state"], found["documents"], found["parked"]["count"]) == ("idle", 249, 1)
    assert found["last_success"]["run_id"] == run["run_id"]
    (listed,) = (s for s in cli.reindex("list", "-o", "json").json if s["name"] == "typed")
    assert (listed["documents"], listed["state"]) == (249, "idle")
    table = cli.reindex("list", "--match", "typed", "-o", "plain").out
    assert re.search(r"^typed +idle +at most .* 249 +1 ", table, re.MULTILINE), table

    # Parked: why, and again once it is mended without a new cursor value.
    (parked,) = cli.reindex("parked", "list", "typed", "-o", "json").json
    assert parked["key"] == ["7"]
    assert "a bad title" in parked["reason"]
    assert "no parked document has the key 8" in cli.reindex("parked", "retry", "typed", "--key", "8", code=1).err
    items.at_source("UPDATE {} SET title = 'good' WHERE id = 7")
    assert (
        "1 parked document is tried again" in cli.reindex("parked", "retry", "typed", "--key", "7", "-o", "plain").out
    )
    cli.reindex("run", "typed")
    assert cli.reindex("parked", "list", "typed", "-o", "json").json == []
    assert items.index == items.table

    checkpoint = cli.reindex("checkpoint", "show", "typed", "-o", "json").json
    assert checkpoint["cursor"] == items.checkpoint["cursor"]
    first = live(cli, "typed")
    assert checkpoint["generation"] == first == items.generations[-1]

    # A rebuild that waits for a person.
    said = cli.reindex("rebuild", "typed", "--promote", "wait", code=4)
    assert "waits for approval" in said.err
    assert "airflow reindex approve typed" in said.err
    asking = cli.reindex("list", "--state", "waiting for approval", "-o", "json").json
    # Other tests' streams may wait as well.
    (waiting,) = (one for one in asking if one["name"] == "typed")
    again = cli.reindex("rebuild", "typed", "--promote", "wait", "--no-wait", "-o", "json").json
    assert (again["created"], again["run_id"]) == (False, waiting["run"]["run_id"])
    other = cli.reindex("rebuild", "typed", code=3)
    assert waiting["run"]["run_id"] in other.err
    answered = cli.reindex("approve", "typed", "-o", "json").json
    assert (answered["run_id"], answered["approved"]) == (waiting["run"]["run_id"], True)
    assert "waits for an approval" in cli.reindex("approve", "typed", code=3).err
    ended(cli, "typed", waiting["run"]["run_id"])
    second = live(cli, "typed")
    assert second != first

    cli.reindex("rollback", "typed")
    assert live(cli, "typed") == first
    assert second in cli.reindex("rollback", "typed", "no_such_generation", code=1).err

    # Live bars, and an end on the way.
    items.insert(range(300, 400))
    items.at_source("UPDATE {} SET title = 'slow', updated_at = now() WHERE id >= 300")
    items.pull_brake(1.0)
    begun = cli.reindex("run", "typed", "--no-wait", "-o", "json").json
    assert begun["created"] is True
    screen = watched(airflow, "typed", until=r"reindex manual__reindex_\S+ +running.*[1-9]\d?%, \d+ of 1")
    assert "batch" in screen or "index" in screen
    cancelled = cli.reindex("cancel", "typed", "-o", "json").json
    assert cancelled == [{"dag_id": "reindex_typed", "run_id": begun["run_id"], "cancelled": True}]
    assert "No run of stream 'typed' is under way" in cli.reindex("cancel", "typed", code=3).err
    items.release_brake()
    ended(cli, "typed", begun["run_id"], "cancelled")

    (checked,) = cli.reindex("check", "typed", "-o", "json").json
    assert (checked["stream"], checked["worst"]) in (("typed", "ok"), ("typed", "warning"))
    assert {finding["what"].partition(":")[0] for finding in checked["findings"]} == {"source", "target", "checkpoint"}
    (by_task,) = cli.reindex("check", "typed", "--as-run", "-o", "json").json
    assert [f["what"] for f in by_task["findings"]] == [f["what"] for f in checked["findings"]]
    wrong = cli.reindex("check", "no_table", code=1)
    assert "no_such_table" in wrong.out

    exact = cli.reindex("status", "typed", "--exact", "-o", "json").json["freshness"]["looked"]
    assert 1 <= exact["waiting"] <= 100
    cli.reindex("run", "typed")
    exact = cli.reindex("status", "typed", "--exact", "--as-run", "-o", "json").json["freshness"]["looked"]
    assert (exact["waiting"], exact["oldest_s"]) == (0, 0.0)
    assert items.index == items.table

    swept = cli.reindex("sweep", "typed", "--dry-run", "-o", "json").json
    assert (swept["mode"], swept["dry_run"], swept["result"]["rows"]) == ("sweep", True, 350)
    assert "Give it tombstones=True" in cli.reindex("tombstones", "ddl", "typed", code=1).err
    # What was asked for in vain says nothing of the stream; why it could not be is told all the same.
    told = status(cli, "typed")
    assert told["state"] == "idle"
    assert any("no_such_generation" in (run["reason"] or "") for run in told["recent"])

    # What cannot be undone is asked, and shown before.
    refused = cli.reindex("remove", "typed", code=2)
    assert first in refused.err
    assert "give --yes" in refused.err.lower()
    assert items.index == items.table
    cli.reindex("remove", "typed", "--yes")
    assert items.generations == []


def watched(airflow: Airflow, stream: str, *, until: str) -> str:
    """What `status --watch` has drawn on a terminal when it has drawn this. It ends with Ctrl-C, with code 0."""
    ours, theirs = pty.openpty()
    environment = airflow.environment | {"TERM": "xterm-256color", "COLUMNS": "180", "LINES": "40"}
    # Whoever is started in the background of a shell ignores Ctrl-C, and so do all whom it starts.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "airflow"]
    command += ["reindex", "status", stream, "--watch", "--every", "0.5"]
    process = subprocess.Popen(
        command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    screen = ""
    deadline = time.monotonic() + TIMEOUT_S
    try:
        while not re.search(until, _plain(screen)):
            assert time.monotonic() < deadline, f"waited in vain for {until!r}:\n{_plain(screen)[-4000:]}"
            if select.select([ours], [], [], 1)[0]:
                screen += os.read(ours, 65536).decode(errors="replace")
        process.send_signal(signal.SIGINT)
        # A terminal that nobody reads is full at once, and who draws on it waits.
        with suppress(OSError):
            while select.select([ours], [], [], TIMEOUT_S)[0] and (screen_left := os.read(ours, 65536)):
                assert time.monotonic() < deadline, "Ctrl-C has not ended it"
                screen += screen_left.decode(errors="replace")
        assert process.wait(TIMEOUT_S) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return _plain(screen)


def _plain(screen: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)


def test_a_process_of_its_own(airflow: Airflow, cli: CommandLine) -> None:
    """As it is typed: the same answer and the same code as from the fork."""
    command = [sys.executable, "-m", "airflow", "reindex", "status", "no_such_stream", "-o", "json"]
    said = subprocess.run(
        command, env=airflow.environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    forked = cli.reindex("status", "no_such_stream", "-o", "json", code=2)
    assert (said.returncode, said.stdout) == (2, forked.out)
    assert "No Dag carries a stream 'no_such_stream'" in said.stderr
    # That a command which ends well does so in a process of its own, `watched` shows.
    assert "typed" in [s["name"] for s in cli.reindex("list", "-o", "json").json]
