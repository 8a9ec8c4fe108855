"""Whom the work tells what it does and what goes over the wire. Standard library only; metrics and traces are behind it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable


class Side(StrEnum):
    """Who is talked to."""

    TARGET = "target"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Traffic:
    """:ivar bytes: taken by the other side, as they travel (compressed, before TLS), those that had to be sent again included.
    :ivar push_backs: times that it had no room or gave no answer (429, 503, a restart), and was left alone for a while.
    :ivar paused_s: seconds of that, for all threads together: pauses that overlap are one."""

    bytes: int = 0
    push_backs: int = 0
    paused_s: float = 0.0

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(
            self.bytes - other.bytes, self.push_backs - other.push_backs, max(0.0, self.paused_s - other.paused_s)
        )


@runtime_checkable
class Metered(Protocol):
    """A writer, or an embedding, that knows what it has sent."""

    @property
    def traffic(self) -> Traffic:
        """By all of its threads by now, whatever has become of it."""


class Step(StrEnum):
    """What is done with each chunk of a batch."""

    READ = "read"
    TRANSFORM = "transform"
    EMBED = "embed"
    WRITE = "write"


class Span(Protocol):
    def set(self, **figures: int) -> None:
        """What is known of the step by now."""


class Observer(Protocol):
    """Is told what the work does; nothing that it raises may reach the work, and nothing that it does may take long."""

    def traffic(self, side: Side, grown: Traffic) -> None:
        """What has come since it was told last."""

    def step(self, step: Step) -> AbstractContextManager[Span]:
        """To be entered as it begins and left as it ends, in whatever thread does it."""


class Unobserved:
    """For whoever wants to know nothing."""

    def traffic(self, side: Side, grown: Traffic) -> None: ...

    @contextmanager
    def step(self, step: Step) -> Iterator[Span]:
        yield self

    def set(self, **figures: int) -> None: ...


class Meter:
    """Adds up what several threads send."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes = 0
        self._push_backs = 0
        self._paused_s = 0.0

    def sent(self, bytes: int) -> None:
        with self._lock:
            self._bytes += bytes

    def pushed_back(self, paused_s: float) -> None:
        """:param paused_s: what this one adds to the pause that holds by now."""
        with self._lock:
            self._push_backs += 1
            self._paused_s += max(0.0, paused_s)

    @property
    def traffic(self) -> Traffic:
        with self._lock:
            return Traffic(self._bytes, self._push_backs, self._paused_s)


class Growth:
    """Tells an observer how far the traffic of something has grown since it was told last."""

    def __init__(self, observer: Observer, side: Side, metered: Any) -> None:
        """:param metered: what is not :class:`Metered` has nothing to tell."""
        self._observer = observer
        self._side = side
        self._metered = metered if isinstance(metered, Metered) else None
        self._told = Traffic()

    def tell(self) -> None:
        if self._metered is None:
            return
        now = self._metered.traffic
        grown = now - self._told
        if grown != Traffic():
            self._told = now
            self._observer.traffic(self._side, grown)
