"""What a run embeds is written in a thread of its own: beside the next chunk's preparing, in order, and never behind an error."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.embedding.embed import Embed
from airflow_reindex_provider.core.embedding.embedder import Answer, Identity, Limits, Vector
from airflow_reindex_provider.core.model import (
    Chunk,
    Counts,
    Document,
    Format,
    Position,
    Recalled,
    Schema,
    WriteResult,
)
from airflow_reindex_provider.core.running.embedding import Embedding

SOON_S = 30
SCHEMA = Schema((), ("id",), CursorType.INTEGER)


class Model:
    """:ivar go: what it waits for before it answers."""

    identity = Identity("test", "letters", 2)
    limits = Limits(4)
    label = "model 'letters'"

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.asked: list[str] = []

    @contextmanager
    def open(self) -> Iterator[Model]:
        yield self

    def embed(self, texts: Sequence[str]) -> Answer:
        self.asked += texts
        assert self.go.wait(SOON_S)
        return Answer([array("f", (len(text), 1)) for text in texts])

    def embed_query(self, text: str) -> Vector:
        raise NotImplementedError


class Target:
    """Holds nothing, and tells what it is asked. In the place of a session and its writer."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.recalled = threading.Semaphore(0)
        self.before: Callable[[Chunk], None] = lambda chunk: None

    def recall(self, generation: str, documents: Sequence[Document], schema: Schema) -> Recalled:
        self.recalled.release()
        return Recalled()

    def write(self, chunk: Chunk) -> WriteResult:
        self.before(chunk)
        documents: Any = chunk.payload
        self.written += [document.key[0] for document in documents]
        return WriteResult(Counts(created=len(documents)))


def chunks(count: int) -> Iterator[Chunk]:
    for n in range(count):
        yield Chunk(Position(str(n)), Format.ROWS, [Document((str(n),), n, {"body": f"text {n}"})])


def run(target: Target, model: Model, count: int, waiting: Callable[[], None] = lambda: None) -> int:
    embed = Embed(("body",), model=model, splitter=lambda text: [text])
    session: Any = target
    with (
        Embedding(embed, target=session, generation="g", schema=SCHEMA, waiting=waiting) as embedding,
        embedding.writes(chunks(count), target) as writes,
    ):
        return sum(write().counts.created for _, write in writes)


def test_a_chunk_is_prepared_while_the_one_before_is_written() -> None:
    target = Target()

    def both_were_prepared(chunk: Chunk) -> None:
        if not target.written:
            assert target.recalled.acquire(timeout=SOON_S)
            assert target.recalled.acquire(timeout=SOON_S)

    target.before = both_were_prepared
    assert run(target, Model(), 20) == 20
    assert target.written == [str(n) for n in range(20)]


@pytest.mark.parametrize("at", [0, 3])
def test_nothing_is_written_behind_a_chunk_that_failed(at: int) -> None:
    """What follows may count on its vectors."""
    target, model = Target(), Model()

    def fail(chunk: Chunk) -> None:
        if chunk.end.cursor == str(at):
            raise OSError("the disk is full")

    target.before = fail
    with pytest.raises(OSError, match="the disk is full"):
        run(target, model, 20)
    assert target.written == [str(n) for n in range(at)]
    assert len(model.asked) <= at + 3


def test_who_is_asked_to_stop_writes_nothing_more() -> None:
    class StopError(Exception):
        pass

    def stop() -> None:
        model.go.set()
        raise StopError

    target, model = Target(), Model()
    model.go.clear()
    target.before = lambda chunk: model.go.clear()
    with pytest.raises(StopError):
        run(target, model, 20, stop)
    written = list(target.written)
    assert len(written) <= 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reindex-write")]
    assert target.written == written
