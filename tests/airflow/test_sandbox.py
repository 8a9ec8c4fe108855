"""The Airflow that the other tests here rely on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest
from streams_under_test import until

from airflow_reindex_provider.testing.airflow import Airflow
from airflow_reindex_provider.testing.processes import ProcessSet, marked


def test_a_run_is_triggered_waited_for_and_read(airflow: Airflow):
    """Mapped task instances run on the real scheduler; their XComs, states and logs can be read."""
    run_id = airflow.trigger("sandbox", conf={"numbers": [4, 5]})

    run = airflow.wait_for_run("sandbox", run_id)

    assert run["state"] == "success"
    assert airflow.xcom("sandbox", run_id, "numbers") == [4, 5]
    assert airflow.xcom("sandbox", run_id, "square", map_index=1) == 25
    assert airflow.xcom("sandbox", run_id, "square", "no_such_key", map_index=1) is None
    states = {(task["task_id"], task["map_index"]): task["state"] for task in airflow.task_instances("sandbox", run_id)}
    assert states == {("numbers", -1): "success", ("square", 0): "success", ("square", 1): "success"}
    assert "squaring 5" in airflow.log_of("sandbox", run_id, "square", map_index=1)


def test_a_failed_run_shows_why(airflow: Airflow):
    """The error of waiting for a run that fails carries the exception of the task."""
    run_id = airflow.trigger("sandbox", conf={"numbers": [7], "fail": True})

    with pytest.raises(RuntimeError, match="ValueError: 7 was to fail"):
        airflow.wait_for_run("sandbox", run_id)


def test_the_command_line_and_the_api_see_one_airflow(airflow: Airflow):
    """What `airflow variables set` has written can be read over REST."""
    airflow.cli("variables", "set", "sandbox_answer", "42")

    assert airflow.variable("sandbox_answer") == "42"
    assert airflow.variable("sandbox_no_such_variable") is None


def test_an_unknown_dag_is_reported_with_the_import_errors(airflow: Airflow):
    """Waiting for a Dag that does not come ends with an error that names it."""
    with pytest.raises(RuntimeError, match="no_such_dag; import errors"):
        airflow.wait_for_dag("no_such_dag", timeout_s=1)


# A process that makes a session of its own, ignores SIGTERM and is left by its parent: the worst a task can do.
_STRAY = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
"""


def test_nothing_outlives_a_process_set(tmp_path):
    """Also a grandchild in a session of its own, orphaned and deaf to SIGTERM, ends with the set."""
    with ProcessSet() as processes:
        env = processes.environment(os.environ)
        subprocess.run([sys.executable, "-c", _STRAY], env=env, check=True)
        assert len(list(marked(processes.mark))) == 1

    assert list(marked(processes.mark)) == []


def test_a_killed_process_takes_with_it_what_it_started(tmp_path):
    """SIGKILL reaches the children of one started process, and none of another; the set no longer misses it."""
    code = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).wait()"
    )
    with ProcessSet() as processes:
        for name in ("lost", "kept"):
            processes.start(name, [sys.executable, "-c", code], env=os.environ, log=tmp_path / "log")
        until(lambda: len(list(marked(processes.mark))) == 4, "both and their children")
        kept = list(marked(processes.mark, starter="kept"))
        assert {processes.starter(process.pid) for process in kept} == {"kept"}

        processes.kill("lost")

        assert list(marked(processes.mark)) == kept
        assert len(kept) == 2
        processes.check()


def test_nothing_outlives_a_killed_owner(tmp_path):
    """When the owner of a process set is killed, its processes end all the same."""
    script = tmp_path / "owner.py"
    script.write_text(
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from airflow_reindex_provider.testing.processes import ProcessSet\n"
        "with ProcessSet() as processes:\n"
        "    command = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "    processes.start('sleeper', command, env=os.environ, log=Path('sleeper.log'))\n"
        "    print(processes.mark, flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as owner:
        mark = owner.stdout.readline().strip()
        left = list(marked(mark))
        assert left
        owner.send_signal(signal.SIGKILL)

    _, alive = psutil.wait_procs(left, timeout=60)
    assert alive == []
