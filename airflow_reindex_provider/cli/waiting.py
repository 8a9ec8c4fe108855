"""Waits for the end of a run, and shows meanwhile how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from airflow_reindex_provider.cli.ending import FAILED, NOT_YET, Ending, tell
from airflow_reindex_provider.cli.finding import database, heard
from airflow_reindex_provider.control.status.records import RunState, RunStatus
from airflow_reindex_provider.control.status.scheduler import scheduler_status
from airflow_reindex_provider.control.status.streams import run_of_stream
from airflow_reindex_provider.control.steering import Started

_POLL_S = 0.5
_SLOW_POLL_S = 2.0
_SLOW_AFTER_S = 10.0

Progress = Callable[[], AbstractContextManager[Callable[[RunStatus], None]]]


def wait_for(stream: str, started: Started, *, timeout_s: float | None, progress: Progress) -> RunStatus:
    """The run once it is over. The run goes on where this does not end.

    :param progress: what is told of each look at it.
    :raises Ending: the time is up, a person is to answer first, the scheduler is gone, or the run is."""
    began = time.monotonic()
    told_of_scheduler = False
    with progress() as shown:
        while True:
            with database() as session:
                run = run_of_stream(session, stream, started.dag_id, started.run_id)
                scheduler = scheduler_status(session)
            if run is None:
                raise Ending(
                    FAILED, f"Run {started.run_id!r} of Dag {started.dag_id!r} was deleted while this waited for it."
                )
            shown(run)
            if run.is_over:
                return run
            if run.state is RunState.APPROVAL:
                raise Ending(
                    NOT_YET,
                    f"Run {run.run_id!r} of Dag {run.dag_id!r} waits for approval: {run.message}\n"
                    f"`airflow reindex approve {stream}` lets it go on, `airflow reindex reject {stream}` ends it.",
                )
            if not scheduler.alive and not told_of_scheduler:
                tell(f"No scheduler of Airflow is alive any more ({heard(scheduler)}); the run waits for one.")
                told_of_scheduler = True
            waited = time.monotonic() - began
            if timeout_s is not None and waited >= timeout_s:
                raise Ending(
                    NOT_YET,
                    f"Run {run.run_id!r} of Dag {run.dag_id!r} is {run.state} after {timeout_s:g} s, and goes on. {run.message}\n"
                    f"`airflow reindex status {stream} --watch` shows it, `airflow reindex cancel {stream}` ends it.",
                )
            poll_s = _POLL_S if waited < _SLOW_AFTER_S else _SLOW_POLL_S
            time.sleep(poll_s if timeout_s is None else min(poll_s, timeout_s - waited))
