"""The moment before which nothing can appear or change unseen, from looks at a server's sessions: a rule, without a connection.

MariaDB tells when a transaction began (in whole seconds), and a statement's stamp may be older than that: ``CURRENT_TIMESTAMP``
is the time at which the statement came, and a statement that waits for a metadata lock has no transaction in InnoDB yet. Once it
has run, nothing tells of the wait any more. So a transaction that has been there since the first look has no bound. What has one
is a session that an earlier look saw free: whatever it does now came after that look.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

DETACHED = 0
"""The session of transactions that have none: those that were prepared (XA) and left, or found by a server that came up."""


@dataclass(frozen=True, slots=True)
class Doing:
    """What a session is seen to do.

    :ivar statement: the number of the statement that it runs; None where it waits for the next one.
    :ivar transaction: the number of its open transaction, 0 as long as that has written nothing; None where it has none, or one
        that may only read.
    :ivar who: in words."""

    statement: int | None
    transaction: int | None
    who: str = ""

    @property
    def is_free(self) -> bool:
        """Whether nothing that it has written waits to be seen: what it writes from now on is stamped from now on."""
        return self.statement is None and not self.transaction


@dataclass(frozen=True, slots=True)
class Look:
    """:ivar at: the server's clock before it. :ivar sessions: by number, all that there are, or at least those that are not
    free; their statements as of some moment after ``at``, and their transactions as of a moment after that."""

    at: datetime
    sessions: Mapping[int, Doing]


def bound(looks: list[Look]) -> datetime | str:
    """The latest moment such that everything that the server will still show is stamped at or after it; or who leaves none.

    :param looks: in order."""
    last = looks[-1]
    found = last.at
    for number, now in last.sessions.items():
        if now.is_free:
            continue
        since = None if number == DETACHED else _since(number, now, looks[:-1])
        if since is None:
            return now.who
        found = min(found, since)
    return found


def _since(number: int, now: Doing, before: list[Look]) -> datetime | None:
    for look in reversed(before):
        then = look.sessions.get(number)
        if then is None or then.is_free or _is_another(then, now):
            return look.at
    return None


def _is_another(then: Doing, now: Doing) -> bool:
    """Whether all that the session has written and not shown yet came after what it was doing then."""
    if now.statement is not None and now.statement == then.statement:
        return False
    # A number stays that of one transaction. While it has written nothing, the statement that runs is all that may be stamped.
    if now.transaction:
        return bool(then.transaction) and now.transaction != then.transaction
    return now.statement is not None
