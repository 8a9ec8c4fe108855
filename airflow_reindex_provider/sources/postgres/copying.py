"""COPY out of Postgres, row by row as the server sends it."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import ExecStatus

from airflow_reindex_provider.databases.postgres.binary_copy import HEADER, TRAILER
from airflow_reindex_provider.databases.postgres.transactions import transaction

if TYPE_CHECKING:
    from psycopg import sql

GATHER_S = 0.0002
"""A server that has to wake its reader for every 8 KiB spends much of its time on that. So a reader that has caught up sleeps
for an instant, in which some of the socket's buffer fills."""


def copied(connection: psycopg.Connection[Any], statement: sql.Composed, *, binary: bool) -> Iterator[bytes]:
    """The rows of a ``COPY ... TO STDOUT``, in binary or as text; without a binary stream's header and trailer. A transaction of
    its own.

    Goes below psycopg's ``copy()``, which wraps every row in Python objects: half of the client's time otherwise. No more is
    held than a row and what the socket's buffers have. Rows that came before an error are given before it is raised.
    """
    with transaction(connection):
        yield from _copied(connection, statement.as_bytes(connection), binary=binary)


def _copied(connection: psycopg.Connection[Any], statement: bytes, *, binary: bool) -> Iterator[bytes]:
    pgconn = connection.pgconn
    pgconn.send_query(statement)
    _wait_for_result(connection)
    result = pgconn.get_result()
    if result is None or result.status != ExecStatus.COPY_OUT:
        _finish(connection, result)
        return
    get = pgconn.get_copy_data
    # It comes with the first row, or with the trailer where there is none.
    skip = len(HEADER) if binary else 0
    done = False
    try:
        while True:
            count, data = get(1)
            if count > 0:
                row = bytes(data[skip:] if skip else data)
                skip = 0
                if row != TRAILER:
                    yield row
            elif count == 0:
                if not select.select([pgconn.socket], [], [], 0)[0]:
                    time.sleep(GATHER_S)
                select.select([pgconn.socket], [], [])
                pgconn.consume_input()
            else:
                break
        done = True
        _finish(connection, pgconn.get_result())
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
