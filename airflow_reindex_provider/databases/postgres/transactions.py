"""Transactions that begin with our settings, and take them back when they end.

Between us and the server there may be a pool that gives each transaction another of the server's sessions (PgBouncer, pgcat,
RDS Proxy, Supavisor). So nothing is ever set for a session: what one transaction sets another may not have, and strangers
would have it. For the same reason no statement is prepared by name, no temporary table outlives its transaction, and every lock
ends with one.

What gives transactions of several servers (a list of hosts, pgcat, Pgpool-II) shows at their beginning, and is
an error: what one of them has committed, another may not have yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import psycopg
from psycopg.abc import Params, Query
from psycopg.copy import Copy, Writer
from psycopg.pq import TransactionStatus
from psycopg.rows import Row

from airflow_reindex_provider.databases.postgres.sqlstates import AnotherServer


@dataclass(frozen=True, slots=True)
class AtServer:
    """What the server says of itself and of us, in this order, at the end of the opening. A pool may log in as somebody else, or
    call a database otherwise, and a role may be set to become another one.

    :ivar schema: where names without a schema are made; None where the search path has none.
    :ivar refusable: the values of ``settings.REFUSED``, in its order.
    """

    role: str
    database: str
    schema: str | None
    standby: bool
    started: str
    refusable: list[str | None]


class SettledCursor(psycopg.Cursor[Row]):
    """Whatever is executed outside of a transaction gets one of its own, which begins with our settings."""

    opening: ClassVar[bytes]
    """BEGIN, what sets the settings, and the facts."""
    server: ClassVar[AtServer | None] = None
    """As the first transaction has found it."""

    def execute(self, query: Any, params: Params | None = None, **options: Any) -> Self:
        with _settled(self.connection):
            return super().execute(query, params, **options)

    def executemany(self, query: Query, params_seq: Iterable[Params], *, returning: bool = False) -> None:
        with _settled(self.connection):
            super().executemany(query, params_seq, returning=returning)

    @contextmanager
    def copy(self, statement: Query, params: Params | None = None, *, writer: Writer | None = None) -> Iterator[Copy]:
        with _settled(self.connection), super().copy(statement, params, writer=writer) as copy:
            yield copy


def settle(connection: psycopg.Connection[Any], opening: bytes) -> None:
    """From now on each transaction of the connection begins like this."""
    connection.autocommit = True
    # A prepared statement lives in one session of the server.
    connection.prepare_threshold = None
    connection.cursor_factory = type("SettledCursor", (SettledCursor,), {"opening": opening})


def at_server(connection: psycopg.Connection[Any]) -> AtServer:
    """Known from the first transaction on."""
    return connection.cursor_factory.server  # type: ignore[attr-defined, no-any-return]


def begin(connection: psycopg.Connection[Any]) -> None:
    """Begin a transaction with our settings; ``connection.commit()`` and ``connection.rollback()`` end it.

    :raises AnotherServer: it is not at the server of the connection's first one."""
    session: Any = connection.cursor_factory
    try:
        cursor = psycopg.Cursor(connection).execute(session.opening)
        while cursor.nextset():
            pass
        row = cursor.fetchone()
        assert row is not None
        found = AtServer(*row)
        if session.server is None:
            session.server = found
        elif (found.standby, found.started) != (session.server.standby, session.server.started):
            raise AnotherServer(
                "two transactions of this connection were at two servers, or the server was started anew"
            )
    except BaseException:
        with suppress(psycopg.Error):
            connection.rollback()
        raise


@contextmanager
def transaction(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """A transaction with our settings; within one, a savepoint. Rolled back where the block raises."""
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        with connection.transaction():
            yield
        return
    begin(connection)
    try:
        yield
    except BaseException:
        # What went wrong with the connection itself must not replace the error that is on its way.
        with suppress(psycopg.Error):
            connection.rollback()
        raise
    connection.commit()


def _settled(connection: psycopg.Connection[Any]) -> AbstractContextManager[None]:
    idle = connection.info.transaction_status is TransactionStatus.IDLE
    return transaction(connection) if idle else nullcontext()
