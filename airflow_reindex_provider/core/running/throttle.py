"""A token bucket over documents: how fast a task may write."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field


@dataclass(slots=True)
class Throttle:
    """Call it with the documents of each chunk; it waits until they are paid for, in slices of at most a second.

    :param docs_per_s: above zero. A second's worth may be written ahead.
    :param should_stop: looked at while it waits.
    """

    docs_per_s: float
    _: KW_ONLY
    should_stop: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _tokens: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self._tokens, self._at = self.docs_per_s, self.clock()

    def __call__(self, documents: int) -> None:
        self._refill()
        self._tokens -= documents
        while self._tokens < 0 and not self.should_stop():
            self.sleep(min(1.0, -self._tokens / self.docs_per_s))
            self._refill()

    def _refill(self) -> None:
        now = self.clock()
        self._tokens = min(self.docs_per_s, self._tokens + (now - self._at) * self.docs_per_s)
        self._at = now
