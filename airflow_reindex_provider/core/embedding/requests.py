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
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from itertools import chain
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
    """Texts of one call, with what is known of their tokens. An object, or a future, of each text would cost more than all else
    that is done with it here."""

    texts: Sequence[str]
    tokens: Sequence[int]
    outcomes: list[Outcome | None]
    left: int
    future: Future[Sequence[Outcome]] = field(default_factory=Future)

    def settle(self, begin: int, outcomes: Sequence[Outcome]) -> None:
        """Of the texts from a place on. The first outcome of each counts."""
        end = begin + len(outcomes)
        before = self.outcomes[begin:end]
        fresh = before.count(None)
        if fresh == len(outcomes):
            self.outcomes[begin:end] = outcomes
        else:
            self.outcomes[begin:end] = [new if old is None else old for old, new in zip(before, outcomes, strict=True)]
        self.left -= fresh
        if fresh and not self.left:
            self.future.set_result(cast("list[Outcome]", self.outcomes))


@dataclass(frozen=True, slots=True)
class _Part:
    """Texts of a submission that follow each other."""

    submission: _Submission
    begin: int
    end: int

    def __len__(self) -> int:
        return self.end - self.begin

    @property
    def texts(self) -> Sequence[str]:
        return self.submission.texts[self.begin : self.end]

    def cut(self, texts: int) -> tuple[_Part, _Part]:
        """So many, and the others."""
        middle = self.begin + texts
        return replace(self, end=middle), replace(self, begin=middle)

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        self.submission.settle(self.begin, outcomes)

    def settle_all(self, outcome: Outcome) -> None:
        self.settle([outcome] * len(self))


_Request: TypeAlias = list[_Part]


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
        self._waiting: deque[_Part] = deque()
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
        submission = _Submission(texts, self._tokens(texts), [None] * len(texts), len(texts))
        if not texts:
            submission.future.set_result(())
        whole = _Part(submission, 0, len(texts))
        with self._changed:
            if self._failed is not None:
                whole.settle_all(self._failed)
            else:
                self._waiting += self._without_too_long(whole)
            while len(self._threads) < min(self._concurrency, sum(map(len, self._waiting))):
                thread = threading.Thread(target=self._work, name="reindex-embed", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify_all()
        return submission.future

    def _tokens(self, texts: Sequence[str]) -> Sequence[int]:
        limits = self._embedder.limits
        return tokens_of(self._embedder, texts) if limits.tokens or limits.text_tokens else [0] * len(texts)

    def _without_too_long(self, part: _Part) -> Iterator[_Part]:
        """Around those that the model would not take."""
        embedder, begin = self._embedder, part.begin
        most = embedder.limits.text_tokens if isinstance(embedder, TokenizingEmbedder) else None
        if most is not None:
            for place, tokens in enumerate(part.submission.tokens):
                if tokens > most:
                    refused = TextRefusedError(_too_long(tokens, most, embedder.label))
                    part.submission.settle(place, [refused])
                    if begin < place:
                        yield replace(part, begin=begin, end=place)
                    begin = place + 1
        if begin < part.end:
            yield replace(part, begin=begin)

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

    def _take(self) -> _Request:
        """The next request, once one may be sent; nothing at the end."""
        with self._changed:
            while not self._closed:
                wait = self._not_before - time.monotonic()
                if self._waiting and wait <= 0 and self._under_way < self._room:
                    self._under_way += 1
                    return self._packed()
                self._changed.wait(wait if self._waiting and wait > 0 else None)
            return []

    def _packed(self) -> _Request:
        limits = self._embedder.limits
        request: _Request = []
        room, tokens = limits.texts, limits.tokens
        while self._waiting and room:
            part = self._waiting.popleft()
            fit = min(room, len(part))
            if tokens is not None:
                fit, tokens = _fitting(part.submission.tokens[part.begin : part.begin + fit], tokens)
                fit = fit if fit or request else 1
            taken, left = part.cut(fit)
            if taken:
                request.append(taken)
            if left:
                self._waiting.appendleft(left)
                break
            room -= fit
        return request

    def _ask(self, request: _Request) -> None:
        texts = list(chain.from_iterable(part.texts for part in request))
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
                if len(texts) == 1:
                    with self._changed:
                        request[0].settle_all(error)
                    return
                # The provider does not say which: the other half does not suffer for it.
                for half in _halves(request, len(texts) // 2):
                    self._ask(half)
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

    def _settle(self, request: _Request, found: Sequence[Vector | str], tokens: int) -> None:
        outcomes = [TextRefusedError(vector) if isinstance(vector, str) else vector for vector in found]
        with self._changed:
            self.tokens += tokens
            self.answered += sum(not isinstance(outcome, Exception) for outcome in outcomes)
            self._throttled_since, self._throttles = None, 0
            self._calm += 1
            if self._calm >= self._room and self._room < self._concurrency:
                self._room, self._calm = self._room + 1, 0
            at = 0
            for part in request:
                part.settle(outcomes[at : at + len(part)])
                at += len(part)

    def _throttle(self, error: ThrottledError, request: _Request) -> None:
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

    def _fail(self, error: Exception, request: _Request) -> None:
        """Nothing more is sent."""
        with self._changed:
            self._failed = self._failed or error
            for part in (*request, *self._waiting):
                part.settle_all(error)
            self._waiting.clear()


def tokens_of(embedder: Embedder, texts: Sequence[str]) -> Sequence[int]:
    """Of each text, as the model counts where that can be done here; else by its bytes, rather too many."""
    if isinstance(embedder, TokenizingEmbedder):
        return embedder.count_tokens(texts)
    return [len(text.encode("utf-8", "replace")) // _BYTES_A_TOKEN + 1 for text in texts]


def _fitting(sizes: Sequence[int], room: int) -> tuple[int, int]:
    """How many of them there is room for, from the first one on, and the room that is left."""
    for place, size in enumerate(sizes):
        if size > room:
            return place, room
        room -= size
    return len(sizes), room


def _halves(request: _Request, middle: int) -> tuple[_Request, _Request]:
    """:param middle: how many texts the first one has."""
    first: _Request = []
    second: _Request = []
    for part in request:
        before, after = part.cut(max(0, min(middle, len(part))))
        first += [before] if before else []
        second += [after] if after else []
        middle -= len(before)
    return first, second


def _cancel(parts: Iterable[_Part]) -> None:
    for part in parts:
        part.settle_all(CancelledError())


def _too_long(tokens: int, most: int, label: str) -> str:
    return f"it has {tokens:,} tokens, and {label} takes {most:,} at the most; let the splitter make shorter pieces"
