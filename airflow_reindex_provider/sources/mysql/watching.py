"""The moment before which nothing can appear or change unseen, from looks at a server's sessions: a rule, without a connection.

The server tells when a transaction began (in whole seconds), and a statement's stamp may be older:
``CURRENT_TIMESTAMP`` is the time at which the statement came, and one that waits for a metadata lock has no transaction in
InnoDB yet. Once it has run, nothing tells of the wait any more. So a transaction that has been there since the first look has no
bound. What has one is a session that an earlier look saw free, or in another transaction: whatever it does now came after that
look.

How long a statement runs, and by what number, is no help: in MariaDB both start anew with each statement of a function or a
trigger that it calls, and the stamp does not.
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

    :ivar runs: whether a statement runs in it. :ivar transaction: the number of its open transaction, 0 as long as that has
        written nothing; None where it has none. :ivar begun: when that began, to the second.
    :ivar only_reads: whether the transaction cannot write.
    :ivar who: in words."""

    runs: bool
    transaction: int | None = None
    begun: datetime | None = None
    only_reads: bool = False
    who: str = ""

    @property
    def is_free(self) -> bool:
        """Whether nothing that it has written waits to be seen, nor what its statement will write: what comes is stamped from
        now on. A statement whose transaction cannot write ends before the session can."""
        return self.only_reads or not (self.runs or self.transaction)


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
    """Whether the transaction that the session was in has ended, and with it the statement that ran. What ran without one may
    have begun the one that is there now, and one that has written nothing may have written since."""
    if then.transaction is None:
        return False
    return now.transaction is None or then.begun != now.begun or then.transaction not in (0, now.transaction)
