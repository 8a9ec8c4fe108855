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
    """:ivar runs: whether a statement does. :ivar came: when it did, which is what it stamps.
    :ivar begun: when its transaction did, as coarse as servers tell it. :ivar unseen: stamps that this has written."""

    runs: bool = False
    came: int = 0
    transaction: int | None = None
    begun: int = 0
    only_reads: bool = False
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
            case "come" if not session.runs:
                session.runs, session.came = True, self.now
            case "read" | "report" if session.runs and session.transaction is None:
                session.transaction, session.begun, session.only_reads = 0, self.now // 4, act == "report"
            case "write" if session.runs and not session.only_reads:
                if session.transaction is None:
                    session.begun = self.now // 4
                session.transaction = session.transaction or next(self.numbers)
                session.unseen.append(session.came)
            case "end":
                session.runs = False
                if session.only_reads:
                    session.transaction, session.only_reads = None, False
            case "commit" if session.runs or not session.unseen:
                self.shown += session.unseen
                # A statement ends with its transaction, or before: none goes on in another one.
                session.runs, session.transaction, session.only_reads, session.unseen = False, None, False, []

    def statements(self) -> dict[int, bool]:
        return {n: s.runs for n, s in enumerate(self.sessions, 1)}

    def doing(self, statements: dict[int, bool]) -> dict[int, Doing]:
        """With the transactions as of now."""
        return {
            n: Doing(statements[n], s.transaction, START + timedelta(seconds=s.begun), s.only_reads, who="somebody")
            for n, s in enumerate(self.sessions, 1)
        }


acts = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2]),
        st.sampled_from(["come", "read", "report", "write", "end", "commit", "ask", "ask", "ask"]),
    ),
    max_size=40,
)


def find_a_loss(told: list[tuple[int, str]]) -> bool:
    """Whether a row is shown after a horizon was told, stamped below it."""
    server, looks, told_at = Server(), [], []
    began: tuple[int, dict[int, bool]] | None = None
    for number, act in told:
        if act != "ask":
            server.step(number, act)
        elif began is None:
            began = (server.now, server.statements())
        else:
            at, statements = began
            began = None
            looks.append(Look(START + timedelta(seconds=at), server.doing(statements)))
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


@pytest.mark.parametrize("forgets", ["runs", "transaction"])
def test_a_rule_that_forgets_one_of_them_is_caught(forgets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of transactions alone lets by what waits before it has one, that of statements what waits after them."""
    other = "transaction" if forgets == "runs" else "runs"
    monkeypatch.setattr(watching.Doing, "is_free", property(lambda self: not getattr(self, other)))
    waits = [(0, "come"), (1, "come"), (1, "ask"), (1, "ask"), (0, "write"), (0, "commit")]
    idle = [(0, "come"), (0, "write"), (0, "end"), (1, "ask"), (1, "ask"), (0, "come"), (0, "commit")]
    assert find_a_loss(waits if forgets == "runs" else idle)


def test_a_rule_that_goes_by_what_a_statement_seems_to_be_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a function a server shows statement after statement, and all have the stamp of the one that calls it."""
    monkeypatch.setattr(watching, "_is_another", lambda then, now: not now.transaction)
    slow = [(0, "come"), (0, "read"), *[(1, "come")] * 9, *[(1, "ask")] * 4, (0, "write"), (0, "commit")]
    assert find_a_loss(slow)


_LATER = START + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("then", "now", "is_told"),
    [
        (Doing(True), Doing(False, 7, START), False),
        (Doing(True), Doing(True), False),
        (Doing(True, 0, START), Doing(True, 0, START), False),
        (Doing(True, 0, START), Doing(True, 7, START), False),
        (Doing(False, 5, START), Doing(False, 5, START), False),
        (Doing(False, 5, START), Doing(False, 7, START), True),
        (Doing(True, 0, START), Doing(True, 0, _LATER), True),
        (Doing(True, 0, START), Doing(False, 7, _LATER), True),
        (Doing(True, 5, START), Doing(True, 0, START), True),
        (Doing(True, 5, START), Doing(True), True),
        (Doing(True, 0, START, only_reads=True), Doing(False, 7, START), True),
        (Doing(False, 0, START), Doing(False, 7, START), True),
    ],
)
def test_which_sessions_an_earlier_look_bounds(then: Doing, now: Doing, is_told: bool) -> None:
    """A statement that may have stamped before it had a transaction leaves no bound; what came since then does."""
    looks = [Look(START, {3: then}), Look(START + timedelta(seconds=9), {3: now})]
    assert isinstance(bound(looks), datetime) is is_told


def test_a_transaction_without_a_session_leaves_no_bound() -> None:
    """Its session was seen doing who knows what before."""
    looks = [Look(START, {}), Look(START, {DETACHED: Doing(False, 5, who="a prepared transaction")})]
    assert bound(looks) == "a prepared transaction"
