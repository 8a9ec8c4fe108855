"""Streams by name, in Airflow's metadata database."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.utils.session import create_session

from airflow_reindex_provider.cli.ending import MISTAKEN, Ending, tell
from airflow_reindex_provider.cli.figures import moment
from airflow_reindex_provider.control.status.catalogue import StreamEntry, list_streams
from airflow_reindex_provider.control.status.records import StreamStatus
from airflow_reindex_provider.control.status.scheduler import SchedulerStatus, scheduler_status
from airflow_reindex_provider.control.status.streams import stream_status

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_MOST_NAMED = 10


@contextmanager
def database() -> Iterator[Session]:
    """A transaction of Airflow's metadata database: committed at the end."""
    with create_session() as session:
        yield session


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
