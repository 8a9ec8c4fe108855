"""The rule by which looks at a server's sessions make a horizon, against a server of the same kind in memory."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_reindex_provider.sources.mysql import watching
from airflow_reindex_provider.sources.mysql.watching import DETACHED, Doing, Look, bound

START = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass
class Session:
    """:ivar came: when its statement did, which is what it stamps. :ivar unseen: stamps that its transaction has written."""

    statement: int | None = None
    came: int = 0
    transaction: int | None = None
    unseen: list[int] = field(default_factory=list)


@dataclass
class Server:
    """Time moves by one with every step; a look takes the statements in one step and the transactions in a later one."""

    now: int = 0
    sessions: list[Session] = field(default_factory=lambda: [Session() for _ in range(3)])
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    shown: list[int] = field(default_factory=list)

    def step(self, number: int, act: str) -> None:
        self.now += 1
        session = self.sessions[number]
        match act:
            case "come" if session.statement is None:
                session.statement, session.came = next(self.numbers), self.now
            case "read" if session.statement is not None and session.transaction is None:
                session.transaction = 0
            case "write" if session.statement is not None:
                session.transaction = session.transaction or next(self.numbers)
                session.unseen.append(session.came)
            case "end":
                session.statement = None
            case "commit" if session.statement is not None or not session.unseen:
                self.shown += session.unseen
                session.transaction, session.unseen = None, []

    def statements(self) -> dict[int, int | None]:
        return {n: s.statement for n, s in enumerate(self.sessions, 1)}

    def transactions(self) -> dict[int, int | None]:
        return {n: s.transaction for n, s in enumerate(self.sessions, 1)}


acts = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2]), st.sampled_from(["come", "read", "write", "end", "commit", "ask", "ask", "ask"])
    ),
    max_size=40,
)


def find_a_loss(told: list[tuple[int, str]]) -> bool:
    """Whether a row is shown after a horizon was told, stamped below it."""
    server, looks, told_at = Server(), [], []
    began: tuple[int, dict[int, int | None]] | None = None
    for number, act in told:
        if act != "ask":
            server.step(number, act)
        elif began is None:
            began = (server.now, server.statements())
        else:
            at, statements = began
            began = None
            running = server.transactions()
            doing = {n: Doing(statements[n], running[n], "somebody") for n in statements}
            looks.append(Look(START + timedelta(seconds=at), doing))
            horizon = bound(looks)
            if isinstance(horizon, datetime):
                told_at.append(((horizon - START).total_seconds(), len(server.shown)))
    for number in range(3):
        server.step(number, "come")
        server.step(number, "write")
        server.step(number, "commit")
    # A stamp at the very moment of a look's clock is what the margin is for.
    return any(stamp < horizon for horizon, shown in told_at for stamp in server.shown[shown:])


@settings(max_examples=400, deadline=None)
@given(acts)
def test_nothing_is_shown_later_below_a_horizon(told: list[tuple[int, str]]) -> None:
    """Whatever sessions do between looks, and between the two questions of a look."""
    assert not find_a_loss(told)


@pytest.mark.parametrize("forgets", ["statements", "transactions"])
def test_a_rule_that_forgets_one_of_them_is_caught(forgets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of transactions alone lets by what waits before it has one, that of statements what waits after them."""
    part = "statement" if forgets == "statements" else "transaction"
    free = property(lambda self: not getattr(self, "transaction" if part == "statement" else "statement"))
    monkeypatch.setattr(watching.Doing, "is_free", free)
    waits = [(0, "come"), (1, "come"), (1, "ask"), (1, "ask"), (0, "write"), (0, "commit")]
    idle = [(0, "come"), (0, "write"), (0, "end"), (1, "ask"), (1, "ask"), (0, "come"), (0, "commit")]
    assert find_a_loss(waits if part == "statement" else idle)


@pytest.mark.parametrize(
    ("then", "now", "is_told"),
    [
        (Doing(1, None), Doing(None, 7), False),
        (Doing(None, 5), Doing(None, 7), True),
        (Doing(1, 5), Doing(1, 7), False),
        (Doing(1, 0), Doing(2, 0), True),
        (Doing(1, 0), Doing(2, 7), False),
        (Doing(None, 0), Doing(None, 7), True),
    ],
)
def test_which_sessions_an_earlier_look_bounds(then: Doing, now: Doing, is_told: bool) -> None:
    """A statement that may have stamped before it had a transaction leaves no bound; one that came since then does."""
    looks = [Look(START, {3: then}), Look(START + timedelta(seconds=9), {3: now})]
    assert isinstance(bound(looks), datetime) is is_told


def test_a_transaction_without_a_session_leaves_no_bound() -> None:
    """Its session was seen doing who knows what before."""
    looks = [Look(START, {}), Look(START, {DETACHED: Doing(None, 5, "a prepared transaction")})]
    assert bound(looks) == "a prepared transaction"
