"""Processes that kill themselves: with SIGKILL at a place, or at a moment, by a signal that nobody handles."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from airflow_reindex_provider.core.errors import ReindexError

Place = tuple[Any, str, int, str]
"""Where to die: an object's attribute, at which call of it, and on which side (``before`` or ``after``)."""


def die_at(place: Place) -> None:
    owner, name, number, side = place
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def watched(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and side == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, watched)


def run_until_killed(run: Callable[[], object], env: Mapping[str, str], work_s: float, wait_s: float) -> NoReturn:
    """Runs, one after the other, until it is killed: after so much work of its own, however busy the machine is, and then at
    whatever it does, or waits for, ``wait_s`` seconds later. The process ends by SIGALRM.

    :param env: what it finds its connections in."""
    os.environ.update(env)
    signal.signal(signal.SIGPROF, lambda *_: signal.setitimer(signal.ITIMER_REAL, wait_s))
    # Nobody handles what this one sends: the process ends as by SIGKILL.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, work_s)
    while True:
        try:
            run()
        except ReindexError:
            # A run that was killed may still have a statement under way.
            time.sleep(0.05)
