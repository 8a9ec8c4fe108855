"""The table that the suite works on, and how its tests read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import pytest

from airflow_reindex_provider.core.model import Batch, Chunk, Document, Format, Key, Position, Slices, Window
from airflow_reindex_provider.core.protocols import ListingSource, Source, SourceSession

US = 1_000_000


@dataclass(frozen=True)
class Made:
    """A row that the suite wants in the table: with the cursor value of this many microseconds since a fixed start, and
    gone (soft-deleted, or outside of the filter) if said so. ``us`` is None for a row without a cursor value."""

    key: Key
    us: int | None
    text: str = "text"
    gone: bool = False


class Table(Protocol):
    """The suite's hand in the system under test. The table has the key's columns, a text column ``body``, the cursor and
    whatever makes a row gone."""

    @property
    def source(self) -> Source: ...

    def keys(self, count: int) -> Sequence[Key]:
        """This many different keys, as the source writes them, in the source's order."""

    def put(self, rows: Sequence[Made]) -> None:
        """Insert the rows, or replace those of the same key, in one committed transaction."""

    def cursor(self, us: int) -> str:
        """The cursor value of a row made with ``us``; greater for a greater one. Everything up to one day (86,400 s) must
        lie below the horizon."""

    def documents(self, chunk: Chunk, fields: Sequence[str]) -> Sequence[Document]:
        """The chunk's documents, whatever its format; of a deletion ``fields`` is None. Values compare equal between
        formats where they mean the same."""


def listing_of(source: SourceSession) -> ListingSource:
    if not isinstance(source, ListingSource):
        pytest.skip("this source does not list its keys")
    return source


def position_at(table: Table, us: int) -> Position:
    return Position(table.cursor(us))


def window_of(table: Table, start_us: int, end_us: int) -> Window:
    return Window(position_at(table, start_us), position_at(table, end_us))


def batch_of(window: Window, rows: int) -> Batch:
    return Batch("stream", "generation", 0, 1, window, rows)


def chunks_of(
    table: Table, source: SourceSession, batch: Batch, *, format: Format, chunk_rows: int
) -> list[tuple[Position, Sequence[Document]]]:
    fields = [f.name for f in source.schema().fields]
    read = source.read(batch, format=format, fields=fields, chunk_rows=chunk_rows)
    return [(chunk.end, table.documents(chunk, fields)) for chunk in read]


def documents_of(
    table: Table, source: SourceSession, window: Window, *, format: Format, chunk_rows: int = 7
) -> list[Document]:
    read = chunks_of(table, source, batch_of(window, 10 * chunk_rows), format=format, chunk_rows=chunk_rows)
    return [document for _, documents in read for document in documents]


def keys_of(table: Table, source: SourceSession, window: Window, *, format: Format = Format.ROWS) -> list[Key]:
    return [d.key for d in documents_of(table, source, window, format=format, chunk_rows=1000)]


def keys_of_slices(
    table: Table, source: SourceSession, slices: Slices, *, format: Format = Format.ROWS, chunk_rows: int = 7
) -> list[Key]:
    return [
        document.key
        for part, rows in slices.parts
        for _, documents in chunks_of(table, source, batch_of(part, rows), format=format, chunk_rows=chunk_rows)
        for document in documents
    ]
