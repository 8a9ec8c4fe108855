"""Reading a batch from Postgres: binary COPY passed through unparsed, or rows as Python values."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.adapt import Buffer, Loader
from psycopg.pq import ExecStatus
from psycopg.sql import Composed
from psycopg.types.datetime import DateLoader, TimeLoader, TimestampLoader, TimestamptzLoader, TimetzLoader
from psycopg.types.string import TextLoader

from airflow_reindex_provider.core.model import Batch, Chunk, Document, Format, Position, Window
from airflow_reindex_provider.databases.postgres.transactions import transaction

if TYPE_CHECKING:
    from airflow_reindex_provider.sources.postgres.sql import Relation

PIECE_BYTES = 256 * 1024
"""Rows are gathered to pieces of about this size: one row at a time costs more to hand on than to read."""
GATHER_S = 0.0002
"""A server that has to wake its reader for every 8 KiB spends much of its time on that. So a reader that has caught up sleeps
for an instant, in which some of the socket's buffer fills."""
# Postgres sends a row a message; with the first one comes COPY's header (signature, flags, extension). Of a row of one text
# the text comes after the number of columns (2 bytes) and its length (4 bytes). The trailer is shorter than these.
_HEADER_BYTES = 19
_TEXT_BYTES = 6
FETCH_ROWS = 500
FETCH_WEIGHT = 1024 * 1024
"""What a page of rows may weigh, judged by the page before it; the first pages are small."""
CHUNK_WEIGHT = 4 * 1024 * 1024
"""A chunk of rows ends here at the latest, counted in characters, so that wide rows do not fill the memory."""


def copies(
    connection: psycopg.Connection[Any], relation: Relation, batch: Batch, fields: Sequence[str], windows: list[Window]
) -> Iterator[Chunk]:
    """One COPY a window, each a chunk. A chunk's payload must be used up before the next one is asked for."""
    for window in windows:
        condition = relation.of_keys(batch.keys, window) if batch.keys else relation.within(window)
        statement = relation.copy(condition, fields)
        yield Chunk(window.end, Format.PG_COPY, copy_out(connection, statement))


def copy_out(connection: psycopg.Connection[Any], statement: Composed, *, texts: bool = False) -> Iterator[bytes]:
    """The stream of one binary COPY, in pieces of whole rows; a transaction of its own.

    Goes below psycopg's ``copy()``, which wraps every row in Python objects: half of the client's time otherwise.

    :param texts: the rows have one text each, and that is all that is wanted: the pieces come without COPY's own bytes.
    """
    with transaction(connection):
        yield from _copy_out(connection, statement.as_bytes(connection), texts=texts)


def _copy_out(connection: psycopg.Connection[Any], statement: bytes, *, texts: bool) -> Iterator[bytes]:
    pgconn = connection.pgconn
    pgconn.send_query(statement)
    _wait_for_result(connection)
    result = pgconn.get_result()
    if result is None or result.status != ExecStatus.COPY_OUT:
        _finish(connection, result)
        return
    # One buffer that grows: the least that can be done for a row, of which there are hundreds of thousands a second.
    piece = bytearray()
    get = pgconn.get_copy_data
    skip = _HEADER_BYTES + _TEXT_BYTES if texts else 0
    done = False
    try:
        while True:
            count, data = get(1)
            if count > 0:
                piece += data[skip:] if skip else data
                if texts:
                    skip = _TEXT_BYTES
                if len(piece) >= PIECE_BYTES:
                    yield bytes(piece)
                    piece.clear()
            elif count == 0:
                if not select.select([pgconn.socket], [], [], 0)[0]:
                    time.sleep(GATHER_S)
                select.select([pgconn.socket], [], [])
                pgconn.consume_input()
            else:
                break
        done = True
        _finish(connection, pgconn.get_result())
        if piece:
            yield bytes(piece)
    finally:
        if not done:
            # Left in the middle: the connection is in COPY mode and good for nothing else.
            connection.close()


def _wait_for_result(connection: psycopg.Connection[Any]) -> None:
    pgconn = connection.pgconn
    while pgconn.flush():
        select.select([], [pgconn.socket], [])
    while pgconn.is_busy():
        select.select([pgconn.socket], [], [])
        pgconn.consume_input()


def _finish(connection: psycopg.Connection[Any], result: Any) -> None:
    """Take the rest of the results; the first error among them is raised."""
    error: psycopg.Error | None = None
    while result is not None:
        if result.status == ExecStatus.FATAL_ERROR and error is None:
            error = psycopg.errors.error_from_result(result)
        _wait_for_result(connection)
        result = connection.pgconn.get_result()
    if error is not None:
        raise error


def rows(
    connection: psycopg.Connection[Any], relation: Relation, batch: Batch, fields: Sequence[str], chunk_rows: int
) -> Iterator[Chunk]:
    """Documents with native Python values, through a server-side cursor.

    Numbers, text, bytes, times, uuids, JSON and lists of them come as Python's own types; whatever Python has no value for
    (an infinite date, a year before Christ, an interval of months) comes as Postgres' text for it.
    """
    width = len(relation.key)
    window = batch.window
    condition = relation.of_keys(batch.keys, window) if batch.keys else relation.within(window)
    documents: list[Document] = []
    weight = 0
    page_rows = 1
    with transaction(connection), connection.cursor(name="reindex_rows") as cursor:
        _load_what_python_cannot_hold(cursor)
        cursor.execute(relation.rows(condition, fields))
        while page := cursor.fetchmany(page_rows):
            page_weight = 0
            for number, row in enumerate(page):
                key = tuple(row[1 : 1 + width])
                if len(documents) >= chunk_rows or weight >= CHUNK_WEIGHT:
                    yield Chunk(Position(row[0], key), Format.ROWS, documents, weight)
                    documents, weight = [], 0
                version, gone, *values = row[1 + width :]
                content = None if gone else dict(zip(fields, values, strict=True))
                documents.append(Document(key, version, content))
                row_weight = _weight(cursor, number, row)
                weight += row_weight
                page_weight += row_weight
            # Rows as wide as these; a table's rows are mostly of one width.
            page_rows = min(FETCH_ROWS, 2 * page_rows, max(1, FETCH_WEIGHT * len(page) // max(1, page_weight)))
    if documents:
        yield Chunk(window.end, Format.ROWS, documents, weight)


def _weight(cursor: psycopg.ServerCursor[Any], number: int, row: Sequence[Any]) -> int:
    """Characters of a row's long values; of what has become Python objects, those that the server sent."""
    weight = 0
    for column, value in enumerate(row):
        if isinstance(value, (str, bytes)):
            weight += len(value)
        elif isinstance(value, (list, dict)) and cursor.pgresult is not None:
            weight += len(cursor.pgresult.get_value(number, column) or b"")
    return weight


def _or_text(base: type[Loader], form: Callable[[str], str] = str) -> type[Loader]:
    class OrText(base):  # type: ignore[valid-type, misc]
        def load(self, data: Buffer) -> Any:
            try:
                return super().load(data)
            except psycopg.DataError:
                return form(bytes(data).decode())

    return OrText


def _as_in_json(text: str) -> str:
    """A time as Postgres writes it in JSON; the session's zone is UTC."""
    return text.replace(" ", "T", 1).replace("+00", "+00:00")


_LENIENT: dict[str, type[Loader]] = {
    "date": _or_text(DateLoader),
    "time": _or_text(TimeLoader),
    "timetz": _or_text(TimetzLoader),
    "timestamp": _or_text(TimestampLoader, _as_in_json),
    "timestamptz": _or_text(TimestamptzLoader, _as_in_json),
    # A timedelta has no months; a Python range has no text form that Postgres reads.
    **dict.fromkeys(
        ("interval", "inet", "cidr", "int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange"),
        TextLoader,
    ),
}


def _load_what_python_cannot_hold(cursor: psycopg.ServerCursor[Any]) -> None:
    for name, loader in _LENIENT.items():
        cursor.adapters.register_loader(name, loader)
