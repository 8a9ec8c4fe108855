"""Reads a batch page by page, in the order of change: each page is a statement of its own that goes on where the last one ended,
so nothing stays open at the server while a target writes, and a killed task leaves nothing running there for long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_reindex_provider.core.errors import ConfigurationError, ReindexError
from airflow_reindex_provider.core.model import Batch, Chunk, Document, Format, Position, Rejection, Window
from airflow_reindex_provider.sources.sql.asking import Asking
from airflow_reindex_provider.sources.sql.relation import Relation, ValueColumn, texts

CHUNK_BYTES = 2 * 1024 * 1024
"""Of what the driver has given; as Python's objects it takes several times as much."""
_FIRST_PAGE_ROWS = 500
_FETCHED_ROWS = 100
_VALUE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Reading:
    """A batch that is read in documents. A chunk is a page, and ends before the row with which it would have more than
    ``chunk_rows`` rows or too many bytes."""

    asking: Asking
    relation: Relation
    batch: Batch
    fields: Sequence[str]
    chunk_rows: int
    label: str

    def chunks(self) -> Iterator[Chunk]:
        """:raises ConfigurationError: a row makes the author's SQL fail (a cast of a view, a filter's division); it is named."""
        window, most = self.batch.window, min(self.chunk_rows, _FIRST_PAGE_ROWS)
        while True:
            try:
                rows, end = self._page(window, most)
            except _NotOfTheServerError as error:
                if most == 1:
                    chunk = self._without(window, error.__cause__ or error)
                    yield chunk
                    end = chunk.end
                else:
                    # In small steps to the row that it is.
                    most = 1
                    continue
            else:
                yield self._chunk(rows, end or window.end)
                width = sum(map(_width, rows)) / len(rows) if rows else 0
                most = max(1, min(self.chunk_rows, 2 * most, int(CHUNK_BYTES / (width or 1))))
            if end is None or end == window.end:
                return
            window = Window(end, window.end)

    def _page(self, window: Window, most: int) -> tuple[list[Sequence[Any]], Position | None]:
        """The rows, and the place of the one after them."""
        statement = self.relation.page(window, self.fields, most + 1, self.batch.keys)
        rows: list[Sequence[Any]] = []
        size = 0
        pieces = self.asking.pieces(statement, rows=min(_FETCHED_ROWS, most + 1))
        try:
            for piece in pieces:
                for row in piece:
                    size += _width(row)
                    if rows and (len(rows) == most or size > CHUNK_BYTES):
                        return rows, self._position(row)
                    rows.append(row)
        except ReindexError:
            raise
        except Exception as error:
            # What the driver or SQLAlchemy cannot make a value of: a year 0, say, or a number in a column of times.
            raise _NotOfTheServerError from error
        finally:
            pieces.close()
        return rows, None

    def _position(self, row: Sequence[Any]) -> Position:
        part = self.relation.rows
        return Position(part.cursor.text(row[0]), texts(part.key, row[1 : 1 + len(part.key)]))

    def _chunk(self, rows: list[Sequence[Any]], end: Position) -> Chunk:
        part = self.relation.rows
        width = 1 + len(part.key)
        columns = [(name, part.columns[name]) for name in self.fields]
        documents: list[Document] = []
        rejected: list[Rejection] = []
        # Each is let go of before the next one becomes Python's objects.
        rows.reverse()
        while rows:
            row = rows.pop()
            key = texts(part.key, row[1:width])
            try:
                content = None if row[width] else _content(columns, row[width + 1 :])
                documents.append(Document(key, part.cursor.ordinal(row[0]), content))
            except Exception as error:
                # Whatever a value does that is none.
                rejected.append(Rejection(key, str(error)))
        return Chunk(end, Format.ROWS, documents, tuple(rejected))

    def _without(self, window: Window, error: BaseException) -> Chunk:
        """In place of the first row of the window, why it cannot be read."""
        places = self.asking.all(self.relation.page(window, None, 2, self.batch.keys))
        end = self._position(places[1]) if len(places) > 1 else window.end
        if not places:
            # It has moved on meanwhile, to a later window.
            return Chunk(end, Format.ROWS, [])
        return Chunk(end, Format.ROWS, [], (Rejection(self._position(places[0]).key, f"it cannot be read: {error}"),))


class _NotOfTheServerError(Exception):
    """A row came that nobody can make values of."""


def _content(columns: Sequence[tuple[str, ValueColumn]], values: Sequence[Any]) -> Mapping[str, Any]:
    content = {}
    for (name, column), value in zip(columns, values, strict=True):
        if value is None or column.value is None:
            content[name] = value
            continue
        try:
            content[name] = column.value(value)
        except Exception as error:
            raise ConfigurationError(f"column {name!r} has no value in Python: {error}") from error
    return content


def _width(row: Sequence[Any]) -> int:
    return sum(len(v) if isinstance(v, (str, bytes, bytearray)) else _VALUE_BYTES for v in row)
