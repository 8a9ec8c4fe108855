"""Processes that end together, with everything they have started, also when their owner is killed."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import psutil  # type: ignore[import-untyped]

_MARK = "REINDEX_PROCESS_SET"
_STARTER = "REINDEX_PROCESS_STARTER"
_GRACE_S = 5.0
_DONE = b"done"


class ProcessSet:
    """Context manager: what was started in it has ended after it.

    Every process carries a mark in its environment, which whatever it starts inherits. So a process is found again also
    when it made a session of its own or lost its parent.

    :param folders: removed when the owner is killed, which then cannot do it.
    """

    def __init__(self, *, folders: Sequence[Path] = ()) -> None:
        self._folders = folders
        self.mark = uuid.uuid4().hex
        self._started: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}
        self._watchdog: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._watchdog = subprocess.Popen(
            # -P keeps this folder, with its airflow.py, out of the module path.
            [sys.executable, "-P", __file__, self.mark, *map(str, self._folders)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    def __exit__(self, *exc: object) -> None:
        word = b""
        try:
            end(self.mark)
            for process, _ in self._started.values():
                process.wait()
            word = _DONE
        finally:
            if self._watchdog is not None:
                self._watchdog.communicate(word)
                self._watchdog = None

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """`base` with the mark."""
        # setproctitle writes its title over the environment that /proc shows, unless told not to.
        return {**base, _MARK: self.mark, "SPT_NOENV": "1"}

    def start(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str], log: Path, user: int | str | None = None
    ) -> None:
        """Start a process that is meant to live as long as the set. Its output goes to the end of `log`.

        :param user: whom root starts it as; default: the caller's own user."""
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                env={**self.environment(env), _STARTER: name},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=user,
                extra_groups=None if user is None else [],
                # Ctrl-C in a terminal reaches the owner alone, which then ends its processes in order.
                start_new_session=True,
            )
        self._started[name] = (process, log)

    def starter(self, pid: int) -> str:
        """The name of the started process that a process is or descends from.

        :raises KeyError: it is no living process of this set."""
        for name in self._started:
            if any(process.pid == pid for process in marked(self.mark, starter=name)):
                return name
        raise KeyError(pid)

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a started process alone."""
        self._started[name][0].send_signal(number)

    def kill(self, name: str) -> None:
        """SIGKILL to a started process and all that it has started. Returns when none is left; `check` forgets them."""
        process, _ = self._started.pop(name)
        _kill(self.mark, starter=name)
        process.wait()

    def check(self) -> None:
        """:raises RuntimeError: if one of the started processes has ended; shows the end of its log."""
        for name, (process, log) in self._started.items():
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with exit code {process.returncode}; the end of {log}:\n{tail(log)}")


class UntilLeft(ABC):
    """Context manager: what is begun in it is undone at its end, and also where its beginning breaks off."""

    _exit: contextlib.ExitStack

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._begin(stack)
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._exit.close()

    @abstractmethod
    def _begin(self, stack: contextlib.ExitStack) -> None:
        """:param stack: takes what is to be undone."""


def until_it_answers(
    ask: Callable[[], object],
    silence: type[Exception],
    *,
    within_s: float,
    alive: Callable[[], object],
    what: str,
    log: Path,
) -> None:
    """:param ask: raises ``silence`` while nothing answers. :param alive: raises where nothing ever will.
    :raises RuntimeError: it takes too long; has the end of its log."""
    deadline = time.monotonic() + within_s
    while True:
        alive()
        try:
            ask()
        except silence as error:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what} does not answer ({error}); the end of its log:\n{tail(log)}") from error
            time.sleep(0.05)
        else:
            return


def tail(log: Path, *, lines: int = 30) -> str:
    """The last lines of a log, or a word that there is none."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(there is no log)"


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now.

    Not one of those that the system hands out by itself (from 32768 on, on Linux): by the time that a server listens there,
    another's outgoing connection could have it, or the same server, for a second port that may be any.
    """
    while True:
        # Not of `random`, which tests seed: two of them would choose alike.
        port = 15_000 + secrets.randbelow(17_000)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def marked(mark: str, *, starter: str | None = None) -> Iterator[psutil.Process]:
    """The living processes of this user that carry the mark; of them all, or of what one started process is the root of."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            wanted = environment.get(_MARK) == mark and starter in (None, environment.get(_STARTER))
            if wanted and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def end(mark: str, *, grace_s: float = _GRACE_S) -> None:
    """End all marked processes: asked first, killed after `grace_s`. Returns when none is left."""
    deadline = time.monotonic() + grace_s
    _signal(list(marked(mark)), signal.SIGTERM)
    while (left := list(marked(mark))) and time.monotonic() < deadline:
        psutil.wait_procs(left, timeout=0.2)
    _kill(mark)


def _kill(mark: str, *, starter: str | None = None) -> None:
    # Again and again: one that is about to die may have started another meanwhile.
    while left := list(marked(mark, starter=starter)):
        _signal(left, signal.SIGKILL)
        psutil.wait_procs(left, timeout=0.2)


def _signal(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def _watch(mark: str, *folders: str) -> None:
    # Without the word, the read returns when the owner's end of the pipe closes, however the owner ended.
    if os.read(sys.stdin.fileno(), len(_DONE)) != _DONE:
        end(mark)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _watch(*sys.argv[1:])
