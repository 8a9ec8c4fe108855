"""A stream's two sides are opened at the same time, and each is closed, whatever becomes of the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from airflow_reindex_provider.core.errors import TransientError
from airflow_reindex_provider.core.opened import Opened, opened
from airflow_reindex_provider.core.protocols import SourceSession
from airflow_reindex_provider.testing.memory import MemoryCheckpoint, MemorySource, MemoryTarget

TIMEOUT_S = 10


class Sides:
    """What happened to them, in order."""

    def __init__(
        self, at_source: Callable[[], Any] = lambda: None, at_target: Callable[[], Any] = lambda: None
    ) -> None:
        """:param at_source: done while it is opened."""
        self.happened: list[str] = []
        self._begun = {"source": at_source, "target": at_target}

    @contextmanager
    def opened(self) -> Iterator[Opened[SourceSession]]:
        sides = self

        class Source(MemorySource):
            def prepare(self) -> None:
                sides.happened.append("prepared")

            @contextmanager
            def open(self) -> Iterator[Any]:
                with sides._side("source"):
                    yield "source"

        class Target(MemoryTarget):
            @contextmanager
            def open(self, stream: str) -> Iterator[Any]:
                with sides._side("target"):
                    yield "target"

        with opened("s", Source(), Target(), MemoryCheckpoint()) as both:
            yield both

    @contextmanager
    def _side(self, name: str) -> Iterator[None]:
        self._begun[name]()
        try:
            yield
        except Exception as error:
            self.happened.append(f"{name}: {error}")
            raise
        else:
            self.happened.append(f"{name} closed")


def fail() -> None:
    raise TransientError("no answer")


def test_at_the_same_time() -> None:
    """Each begins before the other is open, and in the context of the task."""
    both_begun = threading.Barrier(2)
    span: ContextVar[str] = ContextVar("span")
    span.set("of the task")
    seen: list[str] = []

    def begin() -> None:
        both_begun.wait(TIMEOUT_S)
        seen.append(span.get())

    sides = Sides(begin, begin)
    with sides.opened() as both:
        assert (both.source, both.target) == ("source", "target")
    assert seen == ["of the task"] * 2
    assert sides.happened == ["prepared", "target closed", "source closed"]


def test_the_source_does_not_open() -> None:
    """That shows where it is asked for."""
    sides = Sides(at_source=fail)
    with pytest.raises(TransientError, match="no answer"), sides.opened() as both:
        both.source.schema()
    assert sides.happened == ["prepared", "target: no answer"]


def test_the_target_does_not_open() -> None:
    sides = Sides(at_target=fail)
    with pytest.raises(TransientError, match="no answer"), sides.opened():
        raise AssertionError("it is not open")
    assert sides.happened == ["prepared", "source: no answer"]


def test_what_is_done_with_both_fails() -> None:
    """Both are told."""
    sides = Sides()
    with pytest.raises(ValueError, match="broken"), sides.opened():
        raise ValueError("broken")
    assert sides.happened == ["prepared", "target: broken", "source: broken"]


def test_a_task_that_is_ended_does_not_wait() -> None:
    """For a server that does not answer; once it does, its session is closed."""
    answers, closed = threading.Event(), threading.Event()
    sides = Sides(at_source=lambda: answers.wait(TIMEOUT_S))
    with pytest.raises(SystemExit), sides.opened():
        raise SystemExit
    assert sides.happened == ["prepared"]
    answers.set()
    deadline = threading.Timer(TIMEOUT_S, closed.set)
    deadline.start()
    while "source closed" not in sides.happened and not closed.wait(0.01):
        pass
    deadline.cancel()
    assert sides.happened == ["prepared", "source closed"]
