"""How long a side that does not answer is asked again: a run has time to wait for its restart, somebody who looks has not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_at_most: ContextVar[float | None] = ContextVar("at_most", default=None)


def patience_s(usual: float) -> float:
    """Of whoever asks now. :param usual: where nobody is in a hurry."""
    at_most = _at_most.get()
    return usual if at_most is None else min(usual, at_most)


@contextmanager
def in_a_hurry(at_most_s: float) -> Iterator[None]:
    """Within the block nobody is waited for longer than this."""
    token = _at_most.set(at_most_s)
    try:
        yield
    finally:
        _at_most.reset(token)
