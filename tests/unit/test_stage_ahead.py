"""Staging a chunk while the one before it is written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_reindex_provider.core.model import Chunk, Format, Position
from airflow_reindex_provider.core.running.readahead import stage_ahead


def chunks(count: int) -> Iterator[Chunk]:
    for number in range(count):
        yield Chunk(Position(str(number)), Format.PG_COPY, iter([b"%d" % number, b"."]))


def content(chunk: Chunk) -> bytes:
    return b"".join(chunk.payload)  # type: ignore[arg-type]


def test_chunks_come_in_order_with_what_was_staged() -> None:
    """Every chunk arrives once, in the order of the source, beside what ``stage`` made of its payload."""
    with stage_ahead(chunks(20), content) as staged:
        assert [(c.end.cursor, made) for c, made in staged] == [(str(n), b"%d." % n) for n in range(20)]


def test_an_error_while_staging_comes_in_its_place() -> None:
    """The chunks before the one that could not be staged are still handed over, then its error is raised."""

    def stage(chunk: Chunk) -> bytes:
        if chunk.end.cursor == "2":
            raise ValueError("does not fit")
        return content(chunk)

    seen = []
    with (  # noqa: PT012 - what came before the error is the point
        pytest.raises(ValueError, match="does not fit"),
        stage_ahead(chunks(5), stage) as staged,
    ):
        for chunk, _ in staged:
            seen.append(chunk.end.cursor)
    assert seen == ["0", "1"]


def test_an_error_of_the_source_within_a_chunk_is_no_error_of_the_stage() -> None:
    """A payload that breaks off never gets as far as ``stage``."""

    def broken() -> Iterator[Chunk]:
        def pieces() -> Iterator[bytes]:
            yield b"half"
            raise ConnectionError("gone")

        yield Chunk(Position("0"), Format.PG_COPY, pieces())

    seen = []
    with pytest.raises(ConnectionError, match="gone"), stage_ahead(broken(), seen.append) as staged:
        list(staged)
    assert not seen


def test_leaving_early_ends_both_threads() -> None:
    """Whoever leaves after the first chunk of an endless source gets out, and ``stage`` is not called any more."""
    calls = []

    def stage(chunk: Chunk) -> bytes:
        calls.append(chunk)
        return content(chunk)

    with stage_ahead(chunks(10**9), stage) as staged:
        next(staged)
    called = len(calls)
    assert called <= 4
    assert len(calls) == called
