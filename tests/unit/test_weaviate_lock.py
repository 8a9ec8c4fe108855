"""The lock of Weaviate's writers, whatever the order of what they do: a model of the server's aliases, whose calls are made one
at a time in an order that Hypothesis chooses, with writers that are held up anywhere, die, and are taken over at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_reindex_provider.core.errors import ReindexError, TransientError
from airflow_reindex_provider.targets.weaviate import lock
from airflow_reindex_provider.targets.weaviate.lock import Hold, Lock
from airflow_reindex_provider.targets.weaviate.server import ExistsError, Server

DOCUMENTS, REGISTER = "Documents", "Register"


class Turns:
    """Lets threads go on one at a time, in a given order; those that it does not name any more are let go in turn."""

    def __init__(self, order: Sequence[int]) -> None:
        self._order = list(order)
        self._change = threading.Condition()
        self._waiting: dict[int, bool] = {}
        self._alive: set[int] = set()

    def run(self, works: Sequence[Callable[[Callable[[], None]], None]]) -> None:
        self._alive = set(range(len(works)))
        threads = [threading.Thread(target=self._work, args=(n, work)) for n, work in enumerate(works)]
        for thread in threads:
            thread.start()
        at = 0
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting.keys() == self._alive)
                if not self._alive:
                    break
                wanted = self._order[at] if at < len(self._order) else at
                at += 1
                alive = sorted(self._alive)
                chosen = alive[wanted % len(alive)]
                del self._waiting[chosen]
                self._next = chosen
                self._change.notify_all()
        for thread in threads:
            thread.join()

    def _work(self, number: int, work: Callable[[Callable[[], None]], None]) -> None:
        def step() -> None:
            with self._change:
                self._waiting[number] = True
                self._change.notify_all()
                self._change.wait_for(lambda: number not in self._waiting)

        try:
            step()
            work(step)
        finally:
            with self._change:
                self._alive.discard(number)
                self._change.notify_all()


class Aliases:
    """As Weaviate keeps them: each call is one step, and making one is refused where there is one. It holds one document."""

    label = "a model"

    def __init__(self) -> None:
        self.of: dict[str, str] = {}
        self.document = 0
        self.history: list[int] = []

    def seen_by(self, step: Callable[[], None]) -> Any:
        model = self

        class Seen:
            label = "a model"

            def aliases(self, collection: str) -> dict[str, str]:
                step()
                return {name: to for name, to in model.of.items() if to == collection}

            def make_alias(self, name: str, collection: str) -> None:
                step()
                if name in model.of:
                    raise ExistsError(name)
                model.of[name] = collection

            def point(self, name: str, collection: str) -> None:
                step()
                if name in model.of:
                    model.of[name] = collection

            def drop_alias(self, name: str) -> None:
                step()
                model.of.pop(name, None)

        return Seen()

    def read(self, step: Callable[[], None]) -> int:
        step()
        return self.document

    def write(self, step: Callable[[], None], hold: Hold, version: int) -> None:
        step()
        if self.of.get(hold.alias) != DOCUMENTS:
            raise TransientError("held up")
        self.document = version
        self.history.append(version)


def test_whoever_looked_long_ago_comes_after_the_others() -> None:
    """Between its look and its alias others have had the lock, and aliases of that time are gone: its number is an old one."""
    model, calls = Aliases(), 0
    other = Lock(cast("Server", model.seen_by(lambda: None)), DOCUMENTS, REGISTER)

    def step() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            for _ in range(2):
                with other.held():
                    pass

    with Lock(cast("Server", model.seen_by(step)), DOCUMENTS, REGISTER).held() as hold:
        assert hold.alias == f"{DOCUMENTS}_lock_5"
        assert list(model.of) == [hold.alias]


def writer(model: Aliases, version: int, *, dies: bool) -> Callable[[Callable[[], None]], None]:
    def work(step: Callable[[], None]) -> None:
        guard = Lock(cast("Server", model.seen_by(step)), DOCUMENTS, REGISTER)
        with contextlib.suppress(ReindexError), guard.held() as hold:
            if model.read(step) <= version:
                hold.doubtful = True
                model.write(step, hold, version)
                hold.doubtful = dies

    return work


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 5), max_size=80),
    st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=2, max_size=4),
    st.integers(0, 1),
)
def test_no_older_version_replaces_a_newer_one(
    order: list[int], writers: list[tuple[int, bool]], take_over_s: int
) -> None:
    """Whoever holds the lock by its own account: a lock that is taken over at once fences the one who had it."""
    model = Aliases()
    with pytest.MonkeyPatch.context() as patched:
        # A holder that died blocks for ever where nobody may take over: then none dies.
        patched.setattr(lock, "TAKE_OVER_S", 0.0 if take_over_s == 0 else 3_600.0)
        patched.setattr(lock, "_LOOK_EVERY_S", 0.0)
        Turns(order).run([writer(model, v, dies=dies and take_over_s == 0) for v, dies in writers])
    assert model.history == sorted(model.history)
    if take_over_s:
        # Nobody is fenced, so the newest has come through.
        assert model.document == max(version for version, _ in writers)
