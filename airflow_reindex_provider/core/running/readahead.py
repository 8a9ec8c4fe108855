"""Reads, and stages, in threads a bounded way ahead, so that source and target work at the same time."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

from airflow_reindex_provider.core.model import Chunk, Document, Format

log = logging.getLogger(__name__)

_PATIENCE_S = 0.2
_CANCEL_S = 15.0
T = TypeVar("T")

_DOCUMENT_COST = 1024
"""What a document in the rows format is taken to weigh at least, in bytes."""


class _HungUpError(Exception):
    pass


class _Pipe:
    """A queue bounded by weight. The reader puts, the writer gets; who hangs up leaves the other one nothing to wait for."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._items: deque[tuple[object, int]] = deque()
        self._weight = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: object, weight: int) -> bool:
        """False when the other side has hung up. One item may always enter, so none is too heavy."""
        with self._changed:
            while self._weight and self._weight + weight > self._max and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            self._items.append((item, weight))
            self._weight += weight
            self._changed.notify_all()
            return True

    def get(self) -> object:
        with self._changed:
            while not self._items and not self._closed:
                self._changed.wait()
            if self._closed:
                raise _HungUpError
            item, weight = self._items.popleft()
            self._weight -= weight
            self._changed.notify_all()
            return item

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class _EndOfChunk:
    pass


class _EndOfBatch:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def _fill(pipe: _Pipe, chunks: Iterator[Chunk]) -> None:
    try:
        for chunk in chunks:
            if chunk.format is Format.ROWS:
                documents = cast("list[Document]", chunk.payload)
                if not pipe.put(chunk, max(len(documents) * _DOCUMENT_COST, chunk.weight)):
                    return
                continue
            if not pipe.put(chunk, 0):
                return
            for piece in cast("Iterator[bytes]", chunk.payload):
                if not pipe.put(piece, len(piece)):
                    return
            pipe.put(_EndOfChunk(), 0)
        pipe.put(_EndOfBatch(None), 0)
    except BaseException as error:
        pipe.put(_EndOfBatch(error), 0)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()


def _pieces(pipe: _Pipe) -> Iterator[bytes]:
    while not isinstance(item := pipe.get(), _EndOfChunk):
        if isinstance(item, _EndOfBatch):
            # The source broke in the middle of this chunk: whoever writes it must see that, not a short chunk.
            raise item.error or RuntimeError("the source ended within a chunk")
        yield cast("bytes", item)


def _drain(pipe: _Pipe) -> Iterator[Chunk]:
    while not isinstance(item := pipe.get(), _EndOfBatch):
        chunk = cast("Chunk", item)
        if chunk.format is Format.ROWS:
            yield chunk
            continue
        pieces = _pieces(pipe)
        yield Chunk(chunk.end, chunk.format, pieces)
        for _ in pieces:
            pass
    if item.error is not None:
        raise item.error


@contextmanager
def read_ahead(
    chunks: Iterator[Chunk], *, max_bytes: int, cancel: Callable[[], None] = lambda: None
) -> Iterator[Iterator[Chunk]]:
    """The same chunks in the same order, read in a thread of its own.

    Holds ``max_bytes`` of payload, or a single piece where that is larger. An error of the source is raised at the place
    where it happened. Leaving the context stops the thread, so the source can be closed after it.

    :param cancel: makes a read that waits for the source give up; called when the context is left before the end.
    """
    pipe = _Pipe(max_bytes)
    with _running("reindex-read-ahead", lambda: _fill(pipe, chunks), pipe, cancel=cancel):
        yield _drain(pipe)


@contextmanager
def stage_ahead(
    chunks: Iterator[Chunk],
    stage: Callable[[Chunk], T],
    *,
    max_bytes: int,
    cancel: Callable[[], None] = lambda: None,
) -> Iterator[Iterator[tuple[Chunk, T]]]:
    """As :func:`read_ahead`, with what ``stage`` makes of each chunk in a second thread, while the one before is used.

    An error of ``stage`` is raised where its chunk would have come.
    """
    read, staged = _Pipe(max_bytes), _Pipe(1)

    def fill() -> None:
        try:
            for chunk in _drain(read):
                if not staged.put((chunk, stage(chunk)), 1):
                    return
            staged.put(_EndOfBatch(None), 0)
        except BaseException as error:
            staged.put(_EndOfBatch(error), 0)

    def drain() -> Iterator[tuple[Chunk, T]]:
        while not isinstance(item := staged.get(), _EndOfBatch):
            yield cast("tuple[Chunk, T]", item)
        if item.error is not None:
            raise item.error

    with (
        _running("reindex-read-ahead", lambda: _fill(read, chunks), read, cancel=cancel),
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
