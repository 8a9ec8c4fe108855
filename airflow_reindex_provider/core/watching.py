"""Whether a source has something new that is safe to read: what a watcher asks again and again, cheaply."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

from airflow_reindex_provider.core.model import Horizon, Position, Window
from airflow_reindex_provider.core.protocols import Source, SourceSession


class WatchedSession(SourceSession, Protocol):
    """An open source that is kept open and asked again and again."""

    def peek(self, since: Position | None) -> bool:
        """Whether a change lies at or past the position, or at all, safe to read or not. One query through an index; it asks
        nothing else of the server."""

    def glance(self) -> Horizon:
        """As of a survey, without waiting for anything."""


@runtime_checkable
class WatchableSource(Source, Protocol):
    """A source that can be asked over a connection that others use as well, one after the other."""

    @property
    def shares(self) -> str:
        """Those that say the same here are asked over one connection."""

    def connect(self) -> AbstractContextManager[Any]:
        """The connection: read only, and in autocommit."""

    def on(self, connection: Any) -> WatchedSession: ...


def safe_changes(session: WatchedSession, since: Position | None) -> Position | None:
    """The horizon, where a change lies between the position and it; None where a run would find nothing that it may read.

    An idle source costs one query, one with changes that are not safe yet three.

    :param since: a horizon that this has returned before, below which all has been told; None tells of everything."""
    if not session.peek(since):
        return None
    horizon = session.glance().cursor
    if horizon is None:
        return None
    end = Position(horizon)
    return end if session.has_changes(Window(since, end)) else None
