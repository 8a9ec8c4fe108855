"""The demo as a user starts it, and what is left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

_MARK = "REINDEX_DEMO_TEST"


@contextmanager
def _demo(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The demo, with all its temporary files in ``folder``; every process that it starts can be told by its mark."""
    env = {**os.environ, "TMPDIR": str(folder), _MARK: str(folder), "SPT_NOENV": "1"}
    command = [sys.executable, "-u", "-m", "airflow_reindex_provider.demo"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as demo:
        try:
            yield demo
        finally:
            demo.kill()


def _left_running(folder: Path) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(_MARK) == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not pytest's own, which pytest keeps to one user: as root, Postgres runs as another.
    with tempfile.TemporaryDirectory(prefix="reindex-demo-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_the_demo_ends_well_and_leaves_nothing(folder):
    """Exit code 0, the promise kept in numbers, no process and no file left."""
    with _demo(folder) as demo:
        output, _ = demo.communicate()

    assert demo.returncode == 0, output
    assert "lost 12 rows; this lost 0." in output
    assert "The checkpoint is untouched." in output
    assert "by words: 0 hits; by vector:" in output
    assert _left_running(folder) == []
    assert list(folder.iterdir()) == []


def test_an_interrupted_demo_leaves_nothing(folder):
    """Ctrl-C while Airflow starts, with each of its components there: the exit code says so, no process and no file is left."""
    with _demo(folder) as demo:
        deadline = time.monotonic() + 400
        while not any(command.endswith("triggerer") for command in _left_running(folder)):
            assert demo.poll() is None, demo.communicate()[0]
            assert time.monotonic() < deadline, "waited in vain for the last component of Airflow"
            time.sleep(0.2)
        demo.send_signal(signal.SIGINT)
        output, _ = demo.communicate()

    assert demo.returncode == 128 + signal.SIGINT, output
    assert "Interrupted" in output
    assert _left_running(folder) == []
    assert list(folder.iterdir()) == []
