"""The thread that reads ahead: same chunks, same order, bounded, and gone when it is left."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import pytest
from pytest_mock import MockerFixture

from airflow_reindex_provider.core.model import Chunk, Document, Format, Position
from airflow_reindex_provider.core.running.readahead import read_ahead


def rows(number: int, count: int = 1) -> Chunk:
    return Chunk(Position(str(number)), Format.ROWS, [Document((str(n),), number, {}) for n in range(count)])


def copy(number: int, *pieces: bytes) -> Chunk:
    return Chunk(Position(str(number)), Format.PG_COPY, iter(pieces))


def reading_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "reindex-read-ahead"]


def test_rows_come_in_order() -> None:
    """Chunks of rows pass unchanged."""
    chunks = [rows(n, count=n) for n in range(20)]
    with read_ahead(iter(chunks)) as ahead:
        assert list(ahead) == chunks


def test_bytes_come_in_order_each_with_its_chunk() -> None:
    """No piece slips into the chunk before or after."""
    chunks = (copy(n, *[b"%d-%d" % (n, piece) for piece in range(n)]) for n in range(10))
    with read_ahead(chunks) as ahead:
        got = [(chunk.end.cursor, list(chunk.payload)) for chunk in ahead]
    assert got == [(str(n), [b"%d-%d" % (n, piece) for piece in range(n)]) for n in range(10)]


def test_bytes_nobody_took_do_not_reach_the_next_chunk() -> None:
    """A writer may stop short of a chunk's end; the next chunk still begins at its beginning."""
    with read_ahead(iter([copy(1, b"a", b"b", b"c"), copy(2, b"d")])) as ahead:
        first = next(ahead)
        assert next(iter(first.payload)) == b"a"
        assert list(next(ahead).payload) == [b"d"]


def test_one_chunk_is_read_while_another_one_is_used() -> None:
    """However slow the writer is, the source is asked for no more, and what the writer took is held by nobody else."""
    made: list[weakref.ref[Piece]] = []

    class Piece(bytearray):
        pass

    def source() -> Iterator[Chunk]:
        for number in range(20):
            pieces = [Piece(b"x") for _ in range(3)]
            made.extend(map(weakref.ref, pieces))
            yield copy(number, *pieces)
            del pieces

    # What the process had before is left out: looking through all of Airflow for garbage takes half a second each time.
    gc.freeze()
    try:
        with read_ahead(source()) as ahead:
            for number, chunk in enumerate(ahead):
                assert len(list(chunk.payload)) == 3
                gc.collect()
                assert sum(piece() is not None for piece in made) <= 2 * 3, number
                assert len(made) <= (number + 2) * 3
    finally:
        gc.unfreeze()


def test_whoever_waits_is_asked_now_and_then(mocker: MockerFixture) -> None:
    """While the source gives nothing, the writer's side can see that it shall stop, and does."""

    mocker.patch("airflow_reindex_provider.core.running.readahead._LOOK_UP_S", 0.01)

    class StopError(Exception):
        pass

    def stop() -> None:
        raise StopError

    go_on = threading.Event()

    def source() -> Iterator[Chunk]:
        go_on.wait(30)
        yield rows(1)

    with pytest.raises(StopError), read_ahead(source(), cancel=go_on.set, waiting=stop) as ahead:
        list(ahead)


def test_an_error_of_the_source_comes_after_what_it_gave() -> None:
    """The chunks before the error are whole and can be acknowledged."""

    def source() -> Iterator[Chunk]:
        yield rows(1)
        yield rows(2)
        raise ConnectionError("gone")

    got: list[object] = []
    with pytest.raises(ConnectionError, match="gone"), read_ahead(source()) as ahead:
        got.extend(chunk.end.cursor for chunk in ahead)
    assert got == ["1", "2"]


def test_an_error_within_a_chunk_comes_in_its_place() -> None:
    """Whoever writes never sees a chunk that was cut short, nor an error that is not its own."""

    def pieces() -> Iterator[bytes]:
        yield b"a"
        raise ConnectionError("gone")

    got: list[object] = []
    source = iter([copy(1, b"whole"), Chunk(Position("2"), Format.PG_COPY, pieces()), copy(3, b"never")])
    with pytest.raises(ConnectionError, match="gone"), read_ahead(source) as ahead:
        got.extend(list(chunk.payload) for chunk in ahead)
    assert got == [[b"whole"]]


def test_leaving_early_stops_the_thread_and_closes_the_source() -> None:
    """However much is left to read, the thread is gone when the context ends, so the source can be closed."""
    closed = []

    def source() -> Iterator[Chunk]:
        try:
            for n in range(10**9):
                yield copy(n, bytes(10))
        finally:
            closed.append(True)

    with read_ahead(source()) as ahead:
        next(ahead)
    assert closed == [True]
    assert reading_threads() == []


def test_the_thread_ends_with_the_source() -> None:
    """Nothing is left behind after an ordinary end either, nor when nobody reads."""
    with read_ahead(iter([rows(1)])) as ahead:
        assert len(list(ahead)) == 1
    with read_ahead(iter([rows(1)])):
        pass
    assert reading_threads() == []
