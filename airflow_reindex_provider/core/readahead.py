"""Reads the source in a thread, a bounded number of bytes ahead, so that source and target work at the same time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from airflow_reindex_provider.core.model import Chunk, Document, Format

_DOCUMENT_COST = 1024
"""What a document in the rows format is taken to weigh, in bytes; its true size is not worth the time to find out."""


class _Pipe:
    """A queue bounded by weight. The reader puts, the writer gets; either may hang up."""

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
            while not self._items:
                self._changed.wait()
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
                if not pipe.put(chunk, len(documents) * _DOCUMENT_COST):
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
def read_ahead(chunks: Iterator[Chunk], *, max_bytes: int) -> Iterator[Iterator[Chunk]]:
    """The same chunks in the same order, read in a thread of its own.

    Holds ``max_bytes`` of payload, or a single piece where that is larger. An error of the source is raised at the place
    where it happened. Leaving the context stops the thread before it returns, so the source can be closed after it.
    """
    pipe = _Pipe(max_bytes)
    thread = threading.Thread(target=_fill, args=(pipe, chunks), name="reindex-read-ahead", daemon=True)
    thread.start()
    try:
        yield _drain(pipe)
    finally:
        pipe.close()
        thread.join()
