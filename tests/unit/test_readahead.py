"""The thread that reads ahead: same chunks, same order, bounded, and gone when it is left."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from airflow_reindex_provider.core.model import Chunk, Document, Format, Position
from airflow_reindex_provider.core.running.readahead import read_ahead

MEGABYTES = 1_000_000


def rows(number: int, count: int = 1) -> Chunk:
    return Chunk(Position(str(number)), Format.ROWS, [Document((str(n),), number, {}) for n in range(count)])


def copy(number: int, *pieces: bytes) -> Chunk:
    return Chunk(Position(str(number)), Format.PG_COPY, iter(pieces))


def reading_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "reindex-read-ahead"]


def test_rows_come_in_order() -> None:
    """Chunks of rows pass unchanged."""
    chunks = [rows(n, count=n) for n in range(20)]
    with read_ahead(iter(chunks), max_bytes=MEGABYTES) as ahead:
        assert list(ahead) == chunks


def test_bytes_come_in_order_each_with_its_chunk() -> None:
    """No piece slips into the chunk before or after."""
    chunks = (copy(n, *[b"%d-%d" % (n, piece) for piece in range(n)]) for n in range(10))
    with read_ahead(chunks, max_bytes=10) as ahead:
        got = [(chunk.end.cursor, list(chunk.payload)) for chunk in ahead]
    assert got == [(str(n), [b"%d-%d" % (n, piece) for piece in range(n)]) for n in range(10)]


def test_bytes_nobody_took_do_not_reach_the_next_chunk() -> None:
    """A writer may stop short of a chunk's end; the next chunk still begins at its beginning."""
    with read_ahead(iter([copy(1, b"a", b"b", b"c"), copy(2, b"d")]), max_bytes=MEGABYTES) as ahead:
        first = next(ahead)
        assert next(iter(first.payload)) == b"a"
        assert list(next(ahead).payload) == [b"d"]


@pytest.mark.parametrize("max_bytes", [10, 25])
def test_no_more_is_held_than_the_bound(max_bytes: int) -> None:
    """What has been read and not yet taken stays within the bound, but for the piece that waits to enter."""
    taken = 0
    ahead_by: list[int] = []

    def source() -> Iterator[Chunk]:
        def pieces() -> Iterator[bytes]:
            for produced in range(1, 101):
                ahead_by.append(produced - taken)
                yield bytes(5)

        yield Chunk(Position("1"), Format.PG_COPY, pieces())

    with read_ahead(source(), max_bytes=max_bytes) as ahead:
        for _ in next(ahead).payload:
            taken += 1
    assert taken == 100
    # Besides the queue: one piece at the door, and one in the writer's hand that it has not counted yet.
    assert max(ahead_by) <= max_bytes // 5 + 2


def test_a_piece_larger_than_the_bound_passes() -> None:
    """It is held alone, and nothing waits for ever."""
    with read_ahead(iter([copy(1, bytes(50), b"x", bytes(50))]), max_bytes=10) as ahead:
        assert [len(piece) for piece in next(ahead).payload] == [50, 1, 50]


def test_an_error_of_the_source_comes_after_what_it_gave() -> None:
    """The chunks before the error are whole and can be acknowledged."""

    def source() -> Iterator[Chunk]:
        yield rows(1)
        yield rows(2)
        raise ConnectionError("gone")

    got: list[object] = []
    with pytest.raises(ConnectionError, match="gone"), read_ahead(source(), max_bytes=MEGABYTES) as ahead:
        got.extend(chunk.end.cursor for chunk in ahead)
    assert got == ["1", "2"]


def test_an_error_within_a_chunk_is_raised_to_whoever_writes_it() -> None:
    """A chunk cut short must not look like a short chunk."""

    def pieces() -> Iterator[bytes]:
        yield b"a"
        raise ConnectionError("gone")

    got: list[object] = []
    source = iter([copy(1, b"whole"), Chunk(Position("2"), Format.PG_COPY, pieces()), copy(3, b"never")])
    with read_ahead(source, max_bytes=MEGABYTES) as ahead:
        assert list(next(ahead).payload) == [b"whole"]
        second = next(ahead)
        with pytest.raises(ConnectionError, match="gone"):
            got.extend(second.payload)
    assert got == [b"a"]


def test_leaving_early_stops_the_thread_and_closes_the_source() -> None:
    """However much is left to read, the thread is gone when the context ends, so the source can be closed."""
    closed = []

    def source() -> Iterator[Chunk]:
        try:
            for n in range(10**9):
                yield copy(n, bytes(10))
        finally:
            closed.append(True)

    with read_ahead(source(), max_bytes=100) as ahead:
        next(ahead)
    assert closed == [True]
    assert reading_threads() == []


def test_the_thread_ends_with_the_source() -> None:
    """Nothing is left behind after an ordinary end either, nor when nobody reads."""
    with read_ahead(iter([rows(1)]), max_bytes=MEGABYTES) as ahead:
        assert len(list(ahead)) == 1
    with read_ahead(iter([rows(1)]), max_bytes=MEGABYTES):
        pass
    assert reading_threads() == []
