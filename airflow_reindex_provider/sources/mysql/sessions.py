"""Looks at a server's sessions and transactions, until a horizon can be told."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from airflow_reindex_provider.core.errors import HorizonError
from airflow_reindex_provider.sources.mysql.watching import DETACHED, Doing, Look, bound
from airflow_reindex_provider.sources.sql.asking import Asking

_LOOK_EVERY_S = 0.12
"""InnoDB makes its list anew when nobody has read it for a tenth of a second."""
_MOST_TRANSACTIONS = 5_000
"""InnoDB cuts its list at 16 MB, without a word to whoever reads it."""
_UNNUMBERED = 2**48
"""MySQL numbers a transaction that has written nothing by its place in memory, above all others; MariaDB says 0."""
_CLOCK = "SELECT UTC_TIMESTAMP(6)"
# The server's own threads write no rows, and who has not logged in has sent no statement.
_SESSIONS = """
SELECT id, user, command, time FROM information_schema.processlist WHERE id <> CONNECTION_ID()
AND command NOT IN ('Daemon', 'Binlog Dump', 'Binlog Dump GTID') AND user <> 'unauthenticated user'
"""
_DETACHED = (
    "a prepared transaction without a session, whose rows cannot be dated: XA RECOVER; lists it, then XA COMMIT or XA"
    " ROLLBACK it"
)
_SNAPSHOT = "START TRANSACTION WITH CONSISTENT SNAPSHOT"
_TRANSACTIONS = """
SELECT /* {mark} */ trx_mysql_thread_id, trx_id, trx_started, trx_is_read_only,
 trx_mysql_thread_id = CONNECTION_ID() AND trx_query LIKE '%{mark}%' FROM information_schema.innodb_trx
"""


class Watch:
    """:ivar held_by: who has left no bound so far."""

    def __init__(self, asking: Asking, label: str, *, user: str) -> None:
        """:param user: of this session, as grants name it."""
        self._asking = asking
        self._user = user
        self._label = label
        self._looks: list[Look] = []
        self.held_by = ""

    def moment(self, wait_s: float) -> datetime | None:
        """In UTC; None where something held it for so long, see ``held_by``.

        :raises HorizonError: a privilege is missing, or there are more transactions than InnoDB lists."""
        deadline = time.monotonic() + wait_s
        while True:
            look = self._look()
            if look is None:
                self.held_by = (
                    "somebody who reads information_schema.innodb_trx more than ten times a second, so that InnoDB makes no new"
                    " list for anybody: let that monitor read it more seldom"
                )
            else:
                self._looks.append(look)
                found = bound(self._looks)
                if isinstance(found, datetime):
                    return found
                self.held_by = found
            if time.monotonic() + _LOOK_EVERY_S > deadline:
                return None
            time.sleep(_LOOK_EVERY_S)

    def _look(self) -> Look | None:
        """None where InnoDB's list is of a moment before our question: it is one for all who ask, and made anew only when
        nobody has for a while. So we open a transaction of our own and look for the very statement that asks, in it."""
        connection, mark = self._asking.connection, uuid4().hex
        with self._asking.explained():
            try:
                at: datetime = connection.exec_driver_sql(_CLOCK).scalar_one()
                # In this order. A statement that had begun and not ended is seen here; one that has ended since left its
                # transaction for the next question. The other way round one could slip through between the two.
                sessions = connection.exec_driver_sql(_SESSIONS).all()
                connection.exec_driver_sql(_SNAPSHOT)
                try:
                    transactions = connection.exec_driver_sql(_TRANSACTIONS.format(mark=mark).replace("%", "%%")).all()
                except sa.exc.DBAPIError as error:
                    raise _not_allowed(self._label, self._user, error) from error
            finally:
                connection.rollback()
        if len(transactions) > _MOST_TRANSACTIONS:
            raise HorizonError(
                f"{self._label}: {len(transactions)} transactions are open, and InnoDB's list of them may end before the last:"
                " state lag (a timedelta after which no change stays invisible)."
            )
        if not any(is_ours for *_, is_ours in transactions):
            return None
        found = {
            session: Doing(command != "Sleep", who=_who(session, user, command, seconds))
            for session, user, command, seconds in sessions
        }
        # What may write last, since a session may have several: an ALTER TABLE has some of its own.
        for session, number, begun, only_reads, is_ours in sorted(
            transactions, key=lambda t: (not t[3], _written(t[1]))
        ):
            if session == DETACHED:
                found[session] = Doing(False, _written(number) or 1, begun, who=_DETACHED)
            elif not is_ours:
                idle = Doing(False, who=f"a transaction of session {session}, begun {begun}")
                doing = found.get(session, idle)
                found[session] = replace(doing, transaction=_written(number), begun=begun, only_reads=bool(only_reads))
        # Only what is not free has to be remembered.
        return Look(at, {session: doing for session, doing in found.items() if not doing.is_free})


def _written(number: Any) -> int:
    return int(number) if int(number) < _UNNUMBERED else 0


def _who(session: int, user: str, command: str, seconds: int) -> str:
    doing = f"idle for {seconds} s in its transaction" if command == "Sleep" else f"in a statement for {seconds} s"
    return f"session {session} of user {user!r}, {doing}"


def _not_allowed(label: str, user: str, error: sa.exc.DBAPIError) -> Exception:
    if "PROCESS" not in str(error.orig):
        return error
    return HorizonError(
        f"{label}: the user cannot see other sessions' transactions, so a late commit would be skipped. GRANT PROCESS ON *.* TO"
        f" {user}; or state lag (a timedelta after which no change stays invisible)."
    )
