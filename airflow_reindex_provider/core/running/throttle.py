"""A token bucket over documents: how fast a task may write."""

from __future__ import annotations

import time
from collections.abc import Callable


class Throttle:
    """Call it with the documents of each chunk; it waits until they are paid for, in slices of at most a second.

    :param docs_per_s: above zero. A second's worth may be written ahead.
    :param should_stop: looked at while it waits.
    """

    def __init__(
        self,
        docs_per_s: float,
        *,
        should_stop: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = docs_per_s
        self._should_stop = should_stop
        self._clock = clock
        self._sleep = sleep
        self._tokens = docs_per_s
        self._at = clock()

    def __call__(self, documents: int) -> None:
        self._refill()
        self._tokens -= documents
        while self._tokens < 0 and not self._should_stop():
            self._sleep(min(1.0, -self._tokens / self._rate))
            self._refill()

    def _refill(self) -> None:
        now = self._clock()
        self._tokens = min(self._rate, self._tokens + (now - self._at) * self._rate)
        self._at = now
