"""One connection for all watchers of a process that read the same database, however many streams these are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any, TypeVar

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.watching import WatchableSource, WatchedSession

T = TypeVar("T")


class SharedConnection:
    """Opened when it is first needed, and again after it was lost; asked by one watcher at a time."""

    def __init__(self) -> None:
        self.users = 0
        self._turn = asyncio.Lock()
        self._opened = ExitStack()
        self._connection: Any = None
        self._sessions: dict[WatchableSource, WatchedSession] = {}

    async def ask(self, source: WatchableSource, question: Callable[[WatchedSession], T]) -> T:
        """:raises ConfigurationError: of this source alone. What else it raises, the connection is lost."""
        async with self._turn:
            return await asyncio.to_thread(self._ask, source, question)

    def _ask(self, source: WatchableSource, question: Callable[[WatchedSession], T]) -> T:
        try:
            if self._connection is None:
                self._connection = self._opened.enter_context(source.connect())
            if source not in self._sessions:
                self._sessions[source] = source.on(self._connection)
            return question(self._sessions[source])
        except ConfigurationError:
            # Of the others nothing is known to be wrong.
            self._sessions.pop(source, None)
            raise
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._sessions.clear()
        self._connection = None
        opened, self._opened = self._opened, ExitStack()
        opened.close()


_connections: dict[tuple[int, str], SharedConnection] = {}
"""By event loop, and what the sources share."""


@asynccontextmanager
async def shared_connection(source: WatchableSource) -> AsyncIterator[SharedConnection]:
    """That of the source's database in this process; closed when its last user has left."""
    place = id(asyncio.get_running_loop()), source.shares
    shared = _connections.setdefault(place, SharedConnection())
    shared.users += 1
    try:
        yield shared
    finally:
        shared.users -= 1
        if not shared.users:
            del _connections[place]
            await asyncio.shield(asyncio.to_thread(shared.close))
