"""A stream that is open for work."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from threading import Thread
from typing import Generic, TypeVar

from airflow_reindex_provider.core.protocols import (
    CheckpointStore,
    EagerSource,
    PlanningSource,
    Source,
    SourceSession,
    Target,
    TargetSession,
)

SourceT = TypeVar("SourceT", bound=PlanningSource, covariant=True)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Opened(Generic[SourceT]):
    """What the steps of a run, a rebuild and a sweep work on. :ivar stream: its name."""

    stream: str
    _source: SourceT | Future[SourceT]
    target: TargetSession
    store: CheckpointStore

    @property
    def source(self) -> SourceT:
        """Waits for it, where it is being opened beside the others; raises what opening it raises."""
        return self._source.result() if isinstance(self._source, Future) else self._source


@contextmanager
def opened(stream: str, source: Source, target: Target, store: CheckpointStore) -> Iterator[Opened[SourceSession]]:
    """Both sides, for as long as the context lasts. A source that can is opened while the target is opened and asked: the two
    servers are at work at the same time."""
    if isinstance(source, EagerSource):
        source.prepare()
        with _beside(source.open()) as reading, target.open(stream) as writing:
            yield Opened(stream, reading, writing, store)
    else:
        with source.open() as session, target.open(stream) as writing:
            yield Opened(stream, session, writing, store)


@contextmanager
def _beside(context: AbstractContextManager[T]) -> Iterator[Future[T]]:
    """Enters the context in a thread of its own, and leaves it as this one is left."""
    entered: Future[T] = Future()

    def enter() -> None:
        try:
            entered.set_result(context.__enter__())
        except BaseException as error:
            entered.set_exception(error)

    # A thread begins without a context of its own, and what is traced and logged hangs on it.
    Thread(target=copy_context().run, args=[enter], name="reindex-open", daemon=True).start()
    try:
        yield entered
    except Exception as error:
        if entered.exception() is None:
            context.__exit__(type(error), error, error.__traceback__)
        raise
    except BaseException:
        # Whoever ends the task does not wait for a server that may not answer.
        entered.add_done_callback(lambda ended: ended.exception() or context.__exit__(None, None, None))
        raise
    if entered.exception() is None:
        context.__exit__(None, None, None)
