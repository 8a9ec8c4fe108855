"""Reads, and stages, a chunk ahead in threads, so that source and target work at the same time."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar, cast

from airflow_reindex_provider.core.model import Chunk, Format
from airflow_reindex_provider.core.observing import Observer, Step, Unobserved

log = logging.getLogger(__name__)

_PATIENCE_S = 0.2
_CANCEL_S = 15.0
T = TypeVar("T")

_LOOK_UP_S = 2.0
"""How often whoever waits for a chunk sees whether it shall go on waiting."""


class _HungUpError(Exception):
    pass


class _Pipe:
    """The reader puts, the writer gets; who hangs up leaves the other one nothing to wait for.

    :param holds: how many items may wait to be taken while another one is made.
    """

    def __init__(self, holds: int) -> None:
        self._holds = holds
        self._items: deque[object] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: object) -> bool:
        """False when the other side has hung up. Returns when the next item may be made."""
        with self._changed:
            self._items.append(item)
            self._changed.notify_all()
            while len(self._items) > self._holds and not self._closed:
                self._changed.wait()
            return not self._closed

    def get(self, waiting: Callable[[], None] = lambda: None) -> object:
        """:param waiting: called again and again while there is nothing; what it raises comes through."""
        while True:
            with self._changed:
                if not self._items and not self._closed:
                    self._changed.wait(_LOOK_UP_S)
                if self._closed:
                    raise _HungUpError
                if self._items:
                    self._changed.notify_all()
                    return self._items.popleft()
            waiting()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class _EndOfBatch:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def _fill(pipe: _Pipe, chunks: Iterator[Chunk], observer: Observer) -> None:
    try:
        while True:
            with observer.step(Step.READ):
                chunk = next(chunks, None)
                if chunk is not None and chunk.format is not Format.ROWS:
                    # Here, so that what the source raises is raised in place of the chunk, and never to its writer.
                    chunk = replace(chunk, payload=deque(cast("Iterable[bytes]", chunk.payload)))
            if chunk is None:
                break
            if not pipe.put(chunk):
                return
        pipe.put(_EndOfBatch(None))
    except BaseException as error:
        pipe.put(_EndOfBatch(error))
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()


def _drain(pipe: _Pipe, waiting: Callable[[], None] = lambda: None) -> Iterator[Chunk]:
    while not isinstance(item := pipe.get(waiting), _EndOfBatch):
        chunk = cast("Chunk", item)
        if chunk.format is not Format.ROWS:
            chunk = replace(chunk, payload=_used_up(cast("deque[bytes]", chunk.payload)))
        yield chunk
    if item.error is not None:
        raise item.error


def _used_up(pieces: deque[bytes]) -> Iterator[bytes]:
    """Pieces that nobody holds but who gets them."""
    while pieces:
        yield pieces.popleft()


@contextmanager
def read_ahead(
    chunks: Iterator[Chunk],
    *,
    cancel: Callable[[], None] = lambda: None,
    waiting: Callable[[], None] = lambda: None,
    observer: Observer = Unobserved(),
) -> Iterator[Iterator[Chunk]]:
    """The same chunks in the same order, read in a thread of its own.

    One chunk is read, payload and all, while another one is used. An error of the source is raised in place of the chunk in
    which it happened. Leaving the context stops the thread, so the source can be closed after it.

    :param cancel: makes a read that waits for the source give up; called when the context is left before the end.
    :param waiting: called every two seconds while no chunk is there, by whoever waits for it.
    :param observer: each read is a step.
    """
    pipe = _Pipe(0)
    with _running("reindex-read-ahead", lambda: _fill(pipe, chunks, observer), pipe, cancel=cancel):
        yield _drain(pipe, waiting)


@contextmanager
def stage_ahead(
    chunks: Iterator[Chunk],
    stage: Callable[[Chunk], T],
    *,
    cancel: Callable[[], None] = lambda: None,
    waiting: Callable[[], None] = lambda: None,
    observer: Observer = Unobserved(),
) -> Iterator[Iterator[tuple[Chunk, T]]]:
    """As :func:`read_ahead`, with what ``stage`` makes of each chunk in a second thread, while the one before is used.

    An error of ``stage`` is raised where its chunk would have come.
    """
    read, staged = _Pipe(0), _Pipe(1)

    def fill() -> None:
        try:
            for chunk in _drain(read):
                if not staged.put((chunk, stage(chunk))):
                    return
            staged.put(_EndOfBatch(None))
        except BaseException as error:
            staged.put(_EndOfBatch(error))

    def drain() -> Iterator[tuple[Chunk, T]]:
        while not isinstance(item := staged.get(waiting), _EndOfBatch):
            yield cast("tuple[Chunk, T]", item)
        if item.error is not None:
            raise item.error

    with (
        _running("reindex-read-ahead", lambda: _fill(read, chunks, observer), read, cancel=cancel),
        _running("reindex-stage-ahead", fill, staged, read),
    ):
        yield drain()


@contextmanager
def _running(
    name: str, work: Callable[[], None], *pipes: _Pipe, cancel: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """A thread that works at the other end of the pipes; they are closed first when the context is left."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        for pipe in pipes:
            pipe.close()
        thread.join(_PATIENCE_S)
        if thread.is_alive():
            cancel()
            thread.join(_CANCEL_S)
        if thread.is_alive():
            log.warning("The thread %s did not end within %g s and is left behind.", name, _CANCEL_S)
