"""Reads a batch in one statement, in the order of change, and cuts what comes into chunks.

A row that Postgres cannot give is found, by reading on in small steps, and left out with the reason why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Batch, Chunk, Position, Rejection, Window
from airflow_reindex_provider.sources.postgres.copying import copied
from airflow_reindex_provider.sources.postgres.oddities import cannot_be_sent, is_of_a_row, remedy_for, too_long

if TYPE_CHECKING:
    from airflow_reindex_provider.sources.postgres.forms import Form

PIECE_BYTES = 256 * 1024
"""Rows are gathered to pieces of about this size: one row at a time costs more to hand on than to read."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A batch that is read in a form.

    A chunk ends before the row with which it would have more than ``chunk_rows`` rows or too many bytes: by what has come, not
    by what is known of the table, and whether an index has the rows in order or the server sorts them.
    """

    connection: psycopg.Connection[Any]
    form: Form
    batch: Batch
    chunk_rows: int
    label: str

    def chunks(self) -> Iterator[Chunk]:
        """:raises ConfigurationError: a row makes the author's SQL fail (a cast of a view, a filter's division); it is named."""
        window, step = self.batch.window, 0
        while True:
            part = self._first(window, step) if step else window
            reached = part.start
            try:
                for chunk in self._read(part):
                    reached = chunk.end
                    yield chunk
            except psycopg.Error as error:
                if not is_of_a_row(error):
                    raise
                if step == 1:
                    yield self._without(part, error)
                    reached = part.end
                step = 1
                window = Window(reached, window.end)
            else:
                step *= 2
                window = Window(part.end, window.end)
            if window.start == window.end:
                return

    def select(self, window: Window) -> sql.Composed:
        """The rows of the window that the batch is of, each with its place first."""
        relation = self.form.relation
        return sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {}").format(
            sql.SQL(", ").join((relation.place(), *self.form.columns())),
            relation.body,
            self._condition(window),
            relation.order(),
        )

    def _condition(self, window: Window) -> sql.Composed:
        relation, keys = self.form.relation, self.batch.keys
        return relation.of_keys(keys, window) if keys else relation.within(window)

    def _read(self, window: Window) -> Iterator[Chunk]:
        form, begin = self.form, self.form.begin
        statement = sql.SQL("COPY ({}) TO STDOUT").format(self.select(window))
        if form.binary:
            statement += sql.SQL(" (FORMAT binary)")
        # Rows without their places that are not taken yet, the last one among them; and what the chunk has by now.
        waiting: list[bytes] = []
        size = count = taken = 0
        row = b""
        try:
            for row in copied(self.connection, statement, binary=form.binary):
                size += len(row)
                if count and (count >= self.chunk_rows or size > form.chunk_bytes):
                    form.take(waiting)
                    waiting, taken = [], 0
                    yield form.chunk(form.place(row))
                    size, count = len(row), 0
                elif size - taken > PIECE_BYTES and waiting:
                    form.take(waiting)
                    waiting, taken = [], size
                waiting.append(row[begin(row) :])
                count += 1
        except psycopg.Error:
            if count > 1:
                # All that came but the last row, whose place ends the chunk.
                if waiting[:-1]:
                    form.take(waiting[:-1])
                yield form.chunk(form.place(row))
            raise
        if waiting:
            form.take(waiting)
        yield form.chunk(window.end)

    def preparation(self) -> str:
        """Whether the server sorts the rows before it gives the first one."""
        row = self.connection.execute(
            sql.SQL("EXPLAIN (FORMAT json, COSTS off) {}").format(self.select(self.batch.window))
        ).fetchone()
        if row is None or not _sorts(row[0][0]["Plan"]):
            return ""
        return f"the source sorts {self.batch.rows:,} rows before it gives the first one"

    # -- finding the row

    def _first(self, window: Window, rows: int) -> Window:
        """The part of the window with its first rows."""
        return Window(window.start, self._place(window, rows) or window.end)

    def _place(self, window: Window, number: int) -> Position | None:
        relation = self.form.relation
        row = self.connection.execute(relation.places(self._condition(window), skip=number)).fetchone()
        return None if row is None else Position(row[0], tuple(row[1:]))

    def _without(self, part: Window, error: psycopg.Error) -> Chunk:
        """In place of the one row of the part, why it cannot be read."""
        place = self._place(part, 0)
        # Where reading no row at all fails too, it is not for this one.
        for _ in self._read(Window(part.end, part.end)):
            pass
        chunk = self.form.chunk(part.end)
        if place is None:
            # It has moved on meanwhile, to a later window.
            return chunk
        if (said := too_long(error)) is not None:
            remedy = "Shorten the list, give the child a greater max_rows, or leave it out"
            return replace(chunk, rejected=(Rejection(place.key, f"{said}. {remedy}."),))
        reason = error.diag.message_primary or str(error)
        if cannot_be_sent(error):
            remedy = remedy_for(error)
            said = f"Postgres cannot send it: {reason}" + (f". {remedy}" if remedy else "")
            return replace(chunk, rejected=(Rejection(place.key, said),))
        raise ConfigurationError(
            f"Source {self.label}: {reason}, at the row with the key {'/'.join(place.key)}. Mend the row, or the SQL that fails"
            " at it: the stream's row_filter or query, or the view."
        ) from error


def _sorts(plan: Mapping[str, Any]) -> bool:
    return plan["Node Type"] == "Sort" or any(map(_sorts, plan.get("Plans", ())))
