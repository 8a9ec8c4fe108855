"""Streams by name, in Airflow's metadata database."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.utils.session import create_session
from sqlalchemy.exc import InterfaceError, OperationalError

from airflow_reindex_provider.cli.ending import MISTAKEN, NOT_YET, Ending, tell
from airflow_reindex_provider.cli.figures import moment
from airflow_reindex_provider.control.status.catalogue import StreamEntry, list_streams
from airflow_reindex_provider.control.status.records import StreamStatus
from airflow_reindex_provider.control.status.scheduler import SchedulerStatus, scheduler_status
from airflow_reindex_provider.control.status.streams import stream_status

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

T = TypeVar("T")

_MOST_NAMED = 10
_PATIENCE_S = 1.0


@contextmanager
def database() -> Iterator[Session]:
    """A transaction of Airflow's metadata database: committed at the end."""
    with create_session() as session:
        yield session


def patiently(look: Callable[[Session], T], *, until: float | None = None) -> T:
    """What a look finds, as soon as the database answers: for whoever looks again and again.

    :param until: when to give up, of ``time.monotonic``; None is never. :raises Ending: it did not answer until then."""
    told = False
    while True:
        try:
            with database() as session:
                return look(session)
        except (OperationalError, InterfaceError) as error:
            if until is not None and time.monotonic() >= until:
                raise Ending(NOT_YET, f"Airflow's database does not answer: {error}") from error
            if not told:
                tell(f"Airflow's database does not answer, and is asked again: {error}")
            told = True
            time.sleep(_PATIENCE_S)


def entry_of(session: Session, name: str) -> StreamEntry:
    """:raises Ending: no Dag carries it."""
    entries = list_streams(session)
    if name not in entries:
        raise _unknown(name, entries)
    return entries[name]


def status_of(session: Session, name: str, **options: Any) -> StreamStatus:
    """:raises Ending: no Dag carries it."""
    found = stream_status(session, name, **options)
    if found is None:
        raise _unknown(name, list_streams(session))
    return found


def tell_of_the_scheduler(session: Session) -> SchedulerStatus:
    """What is shown is what was, where no scheduler works."""
    found = scheduler_status(session)
    if not found.alive:
        tell(f"No scheduler of Airflow is alive ({heard(found)}): nothing moves until one is.")
    return found


def heard(scheduler: SchedulerStatus) -> str:
    at = scheduler.last_heartbeat_at
    return f"the last was heard at {moment(at)} UTC" if at else "there never was one"


def _unknown(name: str, names: Iterable[str]) -> Ending:
    known = list(names)
    near = difflib.get_close_matches(name, known, n=3) or known[:_MOST_NAMED]
    there = f"Did you mean: {', '.join(near)}?" if near else "There is none yet."
    return Ending(
        MISTAKEN,
        f"No Dag carries a stream {name!r}. {there} A stream is known once Airflow has parsed its Dag file; see"
        " `airflow reindex list`, and `airflow dags list-import-errors`.",
    )
