"""A run in several workers beside each other (``-n``): who takes which tests, and what all of them share.

A file of tests is one worker's, and so is a folder whose tests share a running Airflow; a class of tests may go to another
worker than the rest of its file. Each worker has a Postgres of its own, which costs a second, so nobody is disturbed by roles,
by open transactions or by sessions that others cut. The search engines, which cost half a minute each, and Weaviate belong to the
whole run: the process that started the workers starts an engine when the first of them asks for it, and ends it with the run.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from airflow_reindex_provider.testing.search_engine import SearchEngine
from airflow_reindex_provider.testing.weaviate_server import WeaviateServer

TOGETHER = ("tests/airflow/", "tests/browser/", "tests/acceptance/test_celery.py", "tests/acceptance/test_demo.py")
"""One worker's, so that no two Airflows run at once; they begin first, since they wait more than they work."""

_ONE_TASK = ("tests/conformance/test_checkpoints.py", "tests/conformance/test_streams_by_hand.py")
"""One worker's, so that the Airflow task which they make calls in is started once."""

_MOST = 6
Engine = SearchEngine | WeaviateServer


class ByFile(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        for files in (TOGETHER, _ONE_TASK):
            if nodeid.startswith(files):
                return files[0]
        return nodeid.partition("[")[0].rpartition("::")[0]


class Engines:
    """The search engines of a run, and its Weaviate. Each is started once, by the first who asks."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(thread_name_prefix="engines")
        self._lock = threading.Lock()
        self._started: dict[str, Future[Engine]] = {}

    def get(self, name: str) -> Engine:
        """:raises RuntimeError, OSError: it cannot be had."""
        with self._lock:
            if name not in self._started:
                self._started[name] = self._pool.submit(made(name).__enter__)
        return self._started[name].result()

    def versions(self) -> list[tuple[str, str]]:
        """Name and version of those that were had."""
        return [(name, started.result().version) for name, started in self._started.items() if not started.exception()]

    def end(self) -> None:
        for started in self._started.values():
            if not started.exception():
                started.result().__exit__()


class Lender:
    """Tells the workers of a run the addresses of its engines, over a socket in a folder of its own."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._folder = Path(tempfile.mkdtemp(prefix="reindex-run-"))
        self.address = str(self._folder / "engines")
        self._listener = Listener(self.address, "AF_UNIX")
        threading.Thread(target=self._serve, daemon=True).start()

    def end(self) -> None:
        self._listener.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: Connection) -> None:
        with connection:
            try:
                connection.send(self._engines.get(connection.recv()).url)
            except (RuntimeError, OSError) as error:
                connection.send(RuntimeError(str(error)))


def made(name: str, *, url: str | None = None) -> Engine:
    return WeaviateServer(url=url) if name == "weaviate" else SearchEngine(name, url=url, short_lived=True)


def engine_of_the_run(config: pytest.Config, name: str) -> Engine:
    """The engine of this run. Only who runs the tests in one process has it as its own, to be killed.

    :raises RuntimeError, OSError: it cannot be had."""
    if not hasattr(config, "workerinput"):
        return config.stash[_ENGINES].get(name)
    with Client(config.workerinput["engines"], "AF_UNIX") as connection:
        connection.send(name)
        answer: str | RuntimeError = connection.recv()
    if isinstance(answer, RuntimeError):
        raise answer
    return made(name, url=answer).__enter__()


_ENGINES = pytest.StashKey[Engines]()
_LENDER = pytest.StashKey[Lender]()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.stash[_ENGINES] = Engines()


def pytest_configure_node(node: WorkerController) -> None:
    """Before a worker starts."""
    stash = node.config.stash
    if _LENDER not in stash:
        stash[_LENDER] = Lender(stash[_ENGINES])
    node.workerinput["engines"] = stash[_LENDER].address


def pytest_unconfigure(config: pytest.Config) -> None:
    for part in (_LENDER, _ENGINES):
        if part in config.stash:
            config.stash[part].end()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for name, version in config.stash[_ENGINES].versions():
        terminalreporter.write_line(f"Ran on a real {name} {version}.")
    if most := config.getoption("durations"):
        _tell_slowest_files(terminalreporter, most)


def _tell_slowest_files(terminalreporter: pytest.TerminalReporter, most: int) -> None:
    """A file is one worker's: which of them keep a run waiting."""
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration"):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    terminalreporter.section(f"slowest {most} files")
    for name, took in seconds.most_common(most):
        terminalreporter.write_line(f"{took:8.1f} s  {name}")


def pytest_xdist_auto_num_workers() -> int:
    """What ``-n auto`` means: one more than there are processors, since tests wait for servers, too."""
    return min((os.cpu_count() or 1) + 1, _MOST)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(TOGETHER))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    # In the order of the collection, whatever the number of tests in a file.
    config.option.loadscopereorder = False
    return ByFile(config, log)
