"""How large bodies are and how long to wait, for all threads of one writer."""

from __future__ import annotations

import email.utils
import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from airflow_reindex_provider.core.observing import Meter

log = logging.getLogger(__name__)

FIRST_BYTES = 1024 * 1024
MOST_BYTES = 8 * 1024 * 1024
LEAST_BYTES = 16 * 1024
LONGEST_DELAY_S = 30.0
_FLAT = 1.25
"""Up to this factor over the best time for a byte, larger bodies are still worth trying."""
_LOG_EVERY_S = 10.0


class Pace:
    """Grows bodies while the time for a byte stays flat; halves them, and makes everybody wait, when the engine asks for it.

    :param wait: sleeps for some seconds, or less where the work is to stop. :param clock: monotonic, in seconds.
    :param meter: counts the push backs.
    """

    def __init__(
        self,
        wait: Callable[[float], object],
        clock: Callable[[], float] = time.monotonic,
        *,
        meter: Meter | None = None,
    ) -> None:
        self.body_bytes = FIRST_BYTES
        self._wait = wait
        self._clock = clock
        self._meter = meter or Meter()
        self._lock = threading.Lock()
        self._most = MOST_BYTES
        self._best: float | None = None
        self._not_before = 0.0
        self._logged = -_LOG_EVERY_S

    def hold(self) -> None:
        """Wait until sending is welcome again."""
        while (rest := self._not_before - self._clock()) > 0:
            self._wait(min(rest, LONGEST_DELAY_S))

    def answered(self, sent: int, seconds: float) -> None:
        """A body went through."""
        with self._lock:
            if sent < self.body_bytes // 2:
                return  # the last one of a chunk says nothing about full ones
            cost = seconds / sent
            if self._best is None or cost <= self._best * _FLAT:
                self.body_bytes = min(self.body_bytes * 2, self._most)
            # Old bests fade: what an idle engine could do is no measure for a busy one.
            self._best = cost if self._best is None else min(cost, self._best * 1.05)

    def too_large(self, sent: int) -> None:
        """The engine, or a proxy, takes no body of this size: never again one of more than half of it."""
        with self._lock:
            self._most = max(min(self._most, sent // 2), LEAST_BYTES)
            self.body_bytes = min(self.body_bytes, self._most)

    def pushed_back(self, reason: str, attempt: int, retry_after: str | None, sent: int) -> float:
        """Smaller bodies and a pause. Returns the pause in seconds.

        :param attempt: 0 for the first push back in a row. :param retry_after: the header, seconds or an HTTP date.
        """
        delay = min(0.5 * 2.0**attempt, LONGEST_DELAY_S) * random.uniform(0.5, 1.0)
        delay = max(delay, _seconds(retry_after))
        with self._lock:
            self.body_bytes = max(min(self.body_bytes, sent) // 2, LEAST_BYTES)
            until = self._clock() + delay
            self._meter.pushed_back(until - max(self._not_before, self._clock()))
            self._not_before = max(self._not_before, until)
            if self._clock() - self._logged >= _LOG_EVERY_S:
                self._logged = self._clock()
                log.warning(
                    "The engine pushes back: %s. Bodies of %d KiB from now on, the next one in %.1f s.",
                    reason,
                    self.body_bytes // 1024,
                    delay,
                )
        return delay


def _seconds(retry_after: str | None) -> float:
    if not retry_after:
        return 0.0
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        until: datetime = email.utils.parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
