"""Texts on their way to a model: packed into requests, several under way at a time, as fast as the provider wants it.

submit -> texts that wait -> requests, as full as the limits allow -> a future of all that were submitted together
                   ^                 |
                   +--- throttled ---+   the same texts again, later, with fewer requests at a time
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Self, TypeAlias, cast

from airflow_reindex_provider.core.embedding.answers import checked
from airflow_reindex_provider.core.embedding.embedder import Embedder, EmbedderSession, TokenizingEmbedder, Vector
from airflow_reindex_provider.core.errors import TextRefusedError, ThrottledError, TransientError
from airflow_reindex_provider.core.observing import Meter, Observer, Step, Unobserved

log = logging.getLogger(__name__)

_TRIES = 4
"""Of a request that is not answered as it should be, before it is the task's turn to try again."""
_MAX_DELAY_S = 60.0
LONGEST_WAIT_S = 900.0
"""A provider that lets nothing through for so long, or says that it will not, is waited for by the task's retry."""
_LEAVE_S = 15.0
_BYTES_A_TOKEN = 3
"""Fewer than in most languages, so that a request is rather too small than too large."""


Outcome: TypeAlias = "Vector | Exception"
"""What came of a text: its vector, or why there is none."""


@dataclass(slots=True)
class _Submission:
    """Texts of one call. A future of each would cost more than all else that is done with a text here."""

    outcomes: list[Outcome | None]
    left: int
    future: Future[Sequence[Outcome]] = field(default_factory=Future)

    def settle(self, place: int, outcome: Outcome) -> None:
        """The first outcome counts."""
        if self.outcomes[place] is None:
            self.outcomes[place] = outcome
            self.left -= 1
            if not self.left:
                self.future.set_result(cast("list[Outcome]", self.outcomes))


@dataclass(slots=True)
class _Text:
    text: str
    tokens: int
    submission: _Submission
    place: int

    def settle(self, outcome: Outcome) -> None:
        self.submission.settle(self.place, outcome)


class Requests:
    """A context in which texts can be submitted; what still waits at its end is cancelled.

    A request is as full as the model's limits allow of what waits by then, first come first. One that is not answered is sent
    again after 1, 2 and 4 seconds. A provider that throttles is left alone as long as it says, else with growing delays, by all
    requests; then half as many are under way at a time, and more again as they are answered. That counts as no failure.

    :param concurrency: requests at a time. :param first_delay_s: before a request is sent for the second time.
    :param observer: each request is a step.
    :param keep: is given each answer, its texts and what came of them, before anybody else; several threads call it at once.
        What it raises ends them all.
    """

    def __init__(
        self,
        embedder: Embedder,
        session: EmbedderSession,
        *,
        concurrency: int,
        first_delay_s: float = 1.0,
        observer: Observer = Unobserved(),
        keep: Callable[[Sequence[str], Sequence[Vector | str]], None] = lambda texts, found: None,
    ) -> None:
        self._observer = observer
        self._keep = keep
        self._embedder = embedder
        self._session = session
        self._concurrency = self._room = concurrency
        self._first_delay_s = first_delay_s
        self._changed = threading.Condition()
        self._waiting: deque[_Text] = deque()
        self._threads: list[threading.Thread] = []
        self._under_way = 0
        self._calm = 0
        self._not_before = 0.0
        self._throttled_since: float | None = None
        self._throttles = 0
        self._failed: Exception | None = None
        self._closed = False
        self.meter = Meter()
        """Of answers that asked to be left alone."""
        self.requests = 0
        """Sent to the model, whatever it answered."""
        self.answered = 0
        """Texts that have a vector."""
        self.tokens = 0
        """As the provider counts them; 0 where it does not say."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with self._changed:
            self._closed = True
            _cancel(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        end = time.monotonic() + _LEAVE_S
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        if left := sum(thread.is_alive() for thread in self._threads):
            log.warning(
                "%d requests to %s are left behind; they were not answered in time.", left, self._embedder.label
            )

    @property
    def note(self) -> str:
        """What all requests wait for, in words for people; empty where they wait for their answers."""
        with self._changed:
            wait = self._not_before - time.monotonic()
            return f"{self._embedder.label} throttles: waiting for {wait:.0f} s" if wait > 0.5 else ""

    def submit(self, texts: Sequence[str]) -> Future[Sequence[Outcome]]:
        """What comes of each text, in their order, once it is known of all; may be called while others are under way.

        ``TextRefusedError`` where there is no vector for this text; and for all texts what ends them all: ``TransientError`` or
        ``ConfigurationError``, after which nothing more is sent, or ``CancelledError``. What is under way by then still comes."""
        tokens = self._tokens(texts)
        submission = _Submission([None] * len(texts), len(texts))
        if not texts:
            submission.future.set_result(())
        most = self._embedder.limits.text_tokens if isinstance(self._embedder, TokenizingEmbedder) else None
        with self._changed:
            for place, (text, size) in enumerate(zip(texts, tokens, strict=True)):
                if self._failed is not None:
                    submission.settle(place, self._failed)
                elif most is not None and size > most:
                    submission.settle(place, TextRefusedError(_too_long(size, most, self._embedder.label)))
                else:
                    self._waiting.append(_Text(text, size, submission, place))
            while len(self._threads) < min(self._concurrency, len(self._waiting)):
                thread = threading.Thread(target=self._work, name="reindex-embed", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify_all()
        return submission.future

    def _tokens(self, texts: Sequence[str]) -> Sequence[int]:
        limits = self._embedder.limits
        return tokens_of(self._embedder, texts) if limits.tokens or limits.text_tokens else [0] * len(texts)

    # -- in the threads

    def _work(self) -> None:
        while request := self._take():
            try:
                self._ask(request)
            except Exception as error:
                self._fail(error, request)
            finally:
                with self._changed:
                    self._under_way -= 1
                    self._changed.notify_all()

    def _take(self) -> list[_Text]:
        """The next request, once one may be sent; nothing at the end."""
        with self._changed:
            while not self._closed:
                wait = self._not_before - time.monotonic()
                if self._waiting and wait <= 0 and self._under_way < self._room:
                    self._under_way += 1
                    return self._packed()
                self._changed.wait(wait if self._waiting and wait > 0 else None)
            return []

    def _packed(self) -> list[_Text]:
        limits = self._embedder.limits
        request: list[_Text] = []
        tokens = 0
        while self._waiting and len(request) < limits.texts:
            tokens += self._waiting[0].tokens
            if request and limits.tokens is not None and tokens > limits.tokens:
                break
            request.append(self._waiting.popleft())
        return request

    def _ask(self, request: list[_Text]) -> None:
        texts = [text.text for text in request]
        for tried in range(1, _TRIES + 1):
            with self._changed:
                # Others may have been told to wait since this one, or the one that it is half of, was taken.
                while (wait := self._not_before - time.monotonic()) > 0 and not self._closed:
                    self._changed.wait(wait)
                if self._closed:
                    _cancel(request)
                    return
                self.requests += 1
            try:
                with self._observer.step(Step.EMBED) as span:
                    span.set(texts=len(texts))
                    answer = self._session.embed(texts)
            except TextRefusedError as error:
                if len(request) == 1:
                    with self._changed:
                        request[0].settle(error)
                    return
                # The provider does not say which: the other half does not suffer for it.
                middle = len(request) // 2
                self._ask(request[:middle])
                self._ask(request[middle:])
                return
            except ThrottledError as error:
                self._throttle(error, request)
                return
            except TransientError as error:
                if tried == _TRIES:
                    raise
                log.info("%s; sent again.", error)
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, self._delay(tried))
            else:
                found = checked(answer, texts, self._embedder)
                self._keep(texts, found)
                self._settle(request, found, answer.tokens or 0)
                return

    def _settle(self, request: list[_Text], found: Sequence[Vector | str], tokens: int) -> None:
        with self._changed:
            self.tokens += tokens
            self.answered += sum(not isinstance(vector, str) for vector in found)
            self._throttled_since, self._throttles = None, 0
            self._calm += 1
            if self._calm >= self._room and self._room < self._concurrency:
                self._room, self._calm = self._room + 1, 0
            for text, vector in zip(request, found, strict=True):
                text.settle(TextRefusedError(vector) if isinstance(vector, str) else vector)

    def _throttle(self, error: ThrottledError, request: list[_Text]) -> None:
        """Everybody waits, and these texts come first then."""
        now = time.monotonic()
        with self._changed:
            if now >= self._not_before:
                # Of the requests that are under way at a time, one speaks for all.
                self._room, self._calm = max(1, self._room // 2), 0
                self._throttles += 1
                self._throttled_since = self._throttled_since or now
            wait = error.retry_after_s if error.retry_after_s is not None else self._delay(self._throttles)
            since = self._throttled_since or now
            self.meter.pushed_back(now + wait - max(self._not_before, now))
            if now + wait - since <= LONGEST_WAIT_S:
                self._not_before = max(self._not_before, now + wait)
                if not self._closed:
                    self._waiting.extendleft(reversed(request))
                    return
            if self._closed:
                _cancel(request)
                return
        raise TransientError(
            f"{error} It has let nothing through for {now - since:.0f} s, and wants to be left alone for {wait:.0f} s more."
        ) from error

    def _delay(self, times: int) -> float:
        """Longer each time; not the same for everybody who was sent away at the same moment."""
        longest = min(_MAX_DELAY_S, self._first_delay_s * 2.0 ** (min(times, 16) - 1))
        return longest * random.uniform(0.75, 1.0)

    def _fail(self, error: Exception, request: list[_Text]) -> None:
        """Nothing more is sent."""
        with self._changed:
            self._failed = self._failed or error
            for text in (*request, *self._waiting):
                text.settle(error)
            self._waiting.clear()


def tokens_of(embedder: Embedder, texts: Sequence[str]) -> Sequence[int]:
    """Of each text, as the model counts where that can be done here; else by its bytes, rather too many."""
    if isinstance(embedder, TokenizingEmbedder):
        return embedder.count_tokens(texts)
    return [len(text.encode("utf-8", "replace")) // _BYTES_A_TOKEN + 1 for text in texts]


def _cancel(texts: Iterable[_Text]) -> None:
    for text in texts:
        text.settle(CancelledError())


def _too_long(tokens: int, most: int, label: str) -> str:
    return f"it has {tokens:,} tokens, and {label} takes {most:,} at the most; let the splitter make shorter pieces"
