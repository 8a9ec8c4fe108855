"""Reads a batch page by page, in the order of change: each page is a statement of its own that goes on where the last one ended,
so nothing stays open at the server while a target writes, and a killed task leaves nothing running there for long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_reindex_provider.core.errors import ReindexError
from airflow_reindex_provider.core.model import Batch, Chunk, Position, Rejection, Window
from airflow_reindex_provider.sources.sql.asking import Asking
from airflow_reindex_provider.sources.sql.forms import Form
from airflow_reindex_provider.sources.sql.relation import Relation, texts

_FIRST_PAGE_ROWS = 500
_FETCHED_ROWS = 100


@dataclass(frozen=True, slots=True)
class Reading:
    """A batch that is read in a form. A chunk is a page, and ends before the row with which it would have more than
    ``chunk_rows`` rows or too many bytes."""

    asking: Asking
    relation: Relation
    batch: Batch
    form: Form
    chunk_rows: int

    def chunks(self) -> Iterator[Chunk]:
        """:raises ConfigurationError: a row makes the author's SQL fail (a cast of a view, a filter's division); it is named."""
        window, most = self.batch.window, min(self.chunk_rows, _FIRST_PAGE_ROWS)
        while True:
            try:
                rows, size, end = self._page(window, most)
            except _NotOfTheServerError:
                if most == 1:
                    chunk = self._without(window)
                    yield chunk
                    end = chunk.end
                else:
                    # In small steps to the row that it is.
                    most = 1
                    continue
            else:
                fit = len(rows) * self.form.chunk_bytes // size if size else 2 * most
                yield self.form.chunk(rows, end or window.end)
                most = max(1, min(self.chunk_rows, 2 * most, fit))
            if end is None or end == window.end:
                return
            window = Window(end, window.end)

    def _page(self, window: Window, most: int) -> tuple[list[Sequence[Any]], int, Position | None]:
        """The rows, how many bytes they have, and the place of the one after them."""
        statement = self.relation.page(window, self.form.columns, most + 1, self.batch.keys, placed=self.form.placed)
        rows: list[Sequence[Any]] = []
        size = 0
        pieces = self.asking.pieces(statement, rows=min(_FETCHED_ROWS, most + 1))
        try:
            for piece in pieces:
                for row in piece:
                    width = self.form.width(row)
                    if rows and (len(rows) == most or size + width > self.form.chunk_bytes):
                        return rows, size, self.form.place(row)
                    rows.append(row)
                    size += width
        except ReindexError:
            raise
        except Exception as error:
            # What the driver or SQLAlchemy cannot make a value of: a year 0, say, or a number in a column of times.
            raise _NotOfTheServerError from error
        finally:
            pieces.close()
        return rows, size, None

    def _without(self, window: Window) -> Chunk:
        """The first row of the window alone; or in its place, why it cannot be read."""
        places = [self._place(row) for row in self.asking.all(self.relation.page(window, None, 2, self.batch.keys))]
        end = places[1] if len(places) > 1 else window.end
        try:
            # What cannot be read may be the one behind it.
            rows, _, _ = self._page(Window(window.start, end), 1)
        except _NotOfTheServerError as error:
            if not places:
                raise
            reason = f"it cannot be read: {error.__cause__ or error}"
            return Chunk(end, self.form.format, [], (Rejection(places[0].key, reason),))
        return self.form.chunk(rows, end)

    def _place(self, row: Sequence[Any]) -> Position:
        part = self.relation.rows
        return Position(part.cursor.text(row[0]), texts(part.key, row[1:]))


class _NotOfTheServerError(Exception):
    """A row came that nobody can make values of."""
