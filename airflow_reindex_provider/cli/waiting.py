"""Waits for the end of a run, and shows meanwhile how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from airflow.models.dag import DagModel
from sqlalchemy import select

from airflow_reindex_provider.cli.ending import FAILED, INTERRUPTED, NOT_YET, Ending, tell
from airflow_reindex_provider.cli.finding import heard, patiently
from airflow_reindex_provider.control.status.records import RunState, RunStatus
from airflow_reindex_provider.control.status.scheduler import scheduler_status
from airflow_reindex_provider.control.status.streams import run_of_stream
from airflow_reindex_provider.control.steering import Started

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_POLL_S = 0.5
_SLOW_POLL_S = 2.0
_SLOW_AFTER_S = 10.0

Progress = Callable[[], AbstractContextManager[Callable[[RunStatus], None]]]


def wait_for(stream: str, started: Started, *, timeout_s: float | None, progress: Progress) -> RunStatus:
    """The run once it is over. The run goes on where this does not end.

    :param progress: what is told of each look at it.
    :raises Ending: the time is up, a person is to answer first, or has had enough; or the run is gone."""
    it = f"Run {started.run_id!r} of Dag {started.dag_id!r}"
    and_now = f"`airflow reindex status {stream} --watch` shows it, `airflow reindex cancel {stream}` ends it."
    try:
        with progress() as shown:
            for run, waited in _looks(stream, started, timeout_s):
                shown(run)
                if run.is_over:
                    return run
                if run.state is RunState.APPROVAL:
                    raise Ending(
                        NOT_YET,
                        f"{it} waits for approval: {run.message}\n`airflow reindex approve {stream}` lets it go on,"
                        f" `airflow reindex reject {stream}` ends it.",
                    )
                if timeout_s is not None and waited >= timeout_s:
                    raise Ending(
                        NOT_YET, f"{it} is {run.state} after {timeout_s:g} s, and goes on. {run.message}\n{and_now}"
                    )
    except KeyboardInterrupt:
        raise Ending(INTERRUPTED, f"{it} goes on. {and_now}") from None
    raise Ending(FAILED, f"{it} was deleted while this waited for it.")


def _looks(stream: str, started: Started, timeout_s: float | None) -> Iterator[tuple[RunStatus, float]]:
    """The run, and for how many seconds it was waited for; ends where it is gone. What holds it up is told once."""

    def look(session: Session) -> tuple[RunStatus | None, str]:
        return run_of_stream(session, stream, started.dag_id, started.run_id), _trouble(session, started.dag_id)

    began = time.monotonic()
    told = ""
    while True:
        run, trouble = patiently(look, until=None if timeout_s is None else began + timeout_s)
        if run is None:
            return
        waited = time.monotonic() - began
        yield run, waited
        if trouble not in ("", told):
            tell(trouble)
        told = trouble
        poll_s = _POLL_S if waited < _SLOW_AFTER_S else _SLOW_POLL_S
        time.sleep(poll_s if timeout_s is None else max(min(poll_s, timeout_s - waited), 0.0))


def _trouble(session: Session, dag_id: str) -> str:
    """Why no run of the Dag moves."""
    if session.scalar(select(DagModel.is_paused).where(DagModel.dag_id == dag_id)):
        return f"Dag {dag_id!r} was paused: the run waits until somebody unpauses it."
    scheduler = scheduler_status(session)
    return (
        ""
        if scheduler.alive
        else f"No scheduler of Airflow is alive any more ({heard(scheduler)}): the run waits for one."
    )
