"""An OpenSearch with half of the processors for itself, and a sink in front of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow_reindex_provider.testing.search_engine import SearchEngine


@contextmanager
def opensearch(conn_id: str) -> Iterator[SearchEngine]:
    """It has half of the machine's processors, as on a machine of its own; see :func:`the_others`."""
    everything = _processors()
    with on(everything[: max(1, len(everything) // 2)]):
        engine = SearchEngine("opensearch")
        engine.__enter__()
    try:
        os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = engine.connection_uri()
        yield engine
    finally:
        engine.__exit__()


def the_others() -> list[int]:
    """The processors that the engine does not have; where there is one alone, that one."""
    everything = _processors()
    return everything[max(1, len(everything) // 2) :] or everything


@contextmanager
def on(processors: Sequence[int]) -> Iterator[None]:
    """What is started meanwhile runs on these processors alone, where the system lets us say so."""
    if sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def sink(engine: SearchEngine, conn_id: str, *, delay_s: float = 0.0, keep: Path | None = None) -> Iterator[str]:
    """The URL of a sink in a process of its own, which is the connection ``conn_id`` too.

    :param keep: folder for the bodies that it gets, in their order."""
    with tempfile.TemporaryDirectory() as folder:
        port = Path(folder, "port")
        command = [sys.executable, "-m", "tests.benchmarks.search_sink", engine.url, str(port), str(delay_s)]
        with subprocess.Popen([*command, *([str(keep)] if keep else [])]) as running:
            try:
                while not port.exists():
                    if running.poll() is not None:
                        raise RuntimeError(f"the sink ended with {running.returncode}")
                    time.sleep(0.05)
                url = f"http://127.0.0.1:{port.read_text()}"
                os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = url.replace("http", "opensearch")
                yield url
            finally:
                running.kill()


def ask(engine: SearchEngine, method: str, path: str) -> dict[str, Any]:
    with urllib.request.urlopen(urllib.request.Request(f"{engine.url}/{path}", method=method), timeout=60) as reply:
        value: dict[str, Any] = json.load(reply)
    return value


def _processors() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
