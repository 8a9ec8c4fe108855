"""Texts on their way to a model: full requests, several at a time, as fast as the provider wants it, none sent for nothing."""

from __future__ import annotations

import random
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, wait
from contextlib import AbstractContextManager, contextmanager

import pytest

from airflow_reindex_provider.core.embedding.embedder import Answer, EmbedderSession, Identity, Limits, Vector
from airflow_reindex_provider.core.embedding.requests import LONGEST_WAIT_S, Outcome, Requests
from airflow_reindex_provider.core.errors import (
    ConfigurationError,
    TextRefusedError,
    ThrottledError,
    TransientError,
)
from airflow_reindex_provider.core.observing import Span, Step, Unobserved

SOON_S = 30


def vector_of(text: str) -> Vector:
    return array("f", (len(text), sum(map(ord, text)), 1))


class Model:
    """Answers each text with what it is made of, unless ``before`` raises; notes what was asked."""

    label = "model 'letters'"
    identity = Identity("test", "letters", 3)

    def __init__(
        self, before: Callable[[Sequence[str]], None] = lambda texts: None, limits: Limits = Limits(10)
    ) -> None:
        self.limits = limits
        self.asked: list[list[str]] = []
        self.most_at_once = 0
        self._at_once = 0
        self._before = before
        self._lock = threading.Lock()

    def open(self) -> AbstractContextManager[EmbedderSession]:
        raise NotImplementedError

    def embed(self, texts: Sequence[str]) -> Answer:
        with self._lock:
            self.asked.append(list(texts))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            self._before(texts)
            return Answer([vector_of(text) for text in texts], sum(map(len, texts)))
        finally:
            with self._lock:
                self._at_once -= 1

    def embed_query(self, text: str) -> Vector:
        raise NotImplementedError


class WordModel(Model):
    """Its tokens, which are words, can be counted."""

    def count_tokens(self, texts: Sequence[str]) -> Sequence[int]:
        return [len(text.split()) for text in texts]


TEXTS = [f"text {number}" for number in range(95)]


def answers(model: Model, texts: Sequence[str], *, concurrency: int = 3) -> tuple[Sequence[Outcome], Requests]:
    with Requests(model, model, concurrency=concurrency, first_delay_s=0.001) as requests:
        return requests.submit(texts).result(SOON_S), requests


# -- packing


def test_each_text_has_its_vector_and_requests_are_full() -> None:
    model = Model()
    found, requests = answers(model, TEXTS)
    assert found == [vector_of(text) for text in TEXTS]
    assert sorted(map(len, model.asked)) == [5] + [10] * 9
    assert (requests.requests, requests.answered, requests.tokens) == (10, 95, sum(map(len, TEXTS)))


def test_requests_are_packed_by_tokens_as_the_model_counts_them() -> None:
    """A text of more than a request's tokens goes alone; the provider says what it thinks of it."""
    model = WordModel(limits=Limits(10, tokens=4))
    texts = ["a a", "b b", "c c c", "d", "e e e e e", "f"]
    found, _ = answers(model, texts, concurrency=1)
    assert found == [vector_of(text) for text in texts]
    assert model.asked == [["a a", "b b"], ["c c c", "d"], ["e e e e e"], ["f"]]


def test_where_tokens_cannot_be_counted_bytes_stand_for_them() -> None:
    model = Model(limits=Limits(10, tokens=100))
    answers(model, ["x" * 120] * 5, concurrency=1)
    assert [len(texts) for texts in model.asked] == [2, 2, 1]


def test_texts_of_several_submissions_share_a_request() -> None:
    """Requests are packed across documents and chunks: a small one does not go alone while it waits anyway."""
    go = threading.Event()
    model = Model(lambda texts: go.wait(SOON_S))
    with Requests(model, model, concurrency=1) as requests:
        futures = [requests.submit(["first"]), requests.submit(["a"]), requests.submit(["b", "c"])]
        go.set()
        assert not wait(futures, SOON_S).not_done
    assert len(model.asked) <= 3
    assert model.asked[-1][-1] == "c"


def test_so_many_are_under_way_at_a_time() -> None:
    together = threading.Barrier(4)
    model = Model(lambda texts: together.wait(SOON_S), Limits(1))
    found, _ = answers(model, TEXTS[:8], concurrency=4)
    assert found == [vector_of(text) for text in TEXTS[:8]]
    assert model.most_at_once == 4


# -- one text


@pytest.mark.parametrize("bad", [["text 0"], ["text 41", "text 42", "text 94"]])
def test_a_refused_text_is_found_and_the_others_have_their_vectors(bad: Sequence[str]) -> None:
    """The provider says only that the request is refused: it is halved until the text stands alone."""

    def refuse(texts: Sequence[str]) -> None:
        if set(bad) & set(texts):
            raise TextRefusedError("it is too long")

    model = Model(refuse, Limits(64))
    found, _ = answers(model, TEXTS)
    refused = [text for text, answer in zip(TEXTS, found, strict=True) if isinstance(answer, TextRefusedError)]
    assert refused == list(bad)
    assert [a for a in found if not isinstance(a, Exception)] == [vector_of(t) for t in TEXTS if t not in bad]
    assert len(model.asked) <= 2 + 2 * 6 * len(bad)


def test_a_vector_of_nothing_is_its_texts_alone() -> None:
    class Zeros(Model):
        def embed(self, texts: Sequence[str]) -> Answer:
            return Answer([array("f", (0, 0, 0)) if text == "text 3" else vector_of(text) for text in texts])

    found, requests = answers(Zeros(), TEXTS)
    assert [text for text, a in zip(TEXTS, found, strict=True) if isinstance(a, TextRefusedError)] == ["text 3"]
    assert requests.answered == 94


def test_a_text_that_is_known_to_be_too_long_is_not_sent() -> None:
    model = WordModel(limits=Limits(10, text_tokens=3))
    found, _ = answers(model, ["one two three", "one two three four"])
    assert found[0] == vector_of("one two three")
    assert "4 tokens, and model 'letters' takes 3" in str(found[1])
    assert model.asked == [["one two three"]]


# -- throttling


def test_a_throttled_request_waits_as_long_as_it_is_told_and_so_do_all_others() -> None:
    """However often: it is no failed try. And it is sent as it was, never a text at a time."""
    sent: list[float] = []
    told: list[float] = []

    def throttle(texts: Sequence[str]) -> None:
        now = time.monotonic()
        if len(told) < 10:
            told.append(now)
            raise ThrottledError("429", retry_after_s=0.05)
        sent.append(now)

    model = Model(throttle)
    found, _ = answers(model, TEXTS)
    assert found == [vector_of(text) for text in TEXTS]
    assert {len(texts) for texts in model.asked} == {5, 10}
    assert min(sent) - max(told) >= 0.05


def test_after_a_429_fewer_are_under_way_and_more_again_as_they_are_answered() -> None:
    once = threading.Event()
    at_once: list[int] = []

    def throttle(texts: Sequence[str]) -> None:
        at_once.append(model._at_once)
        if not once.is_set():
            once.set()
            raise ThrottledError("429", retry_after_s=0.2)
        threading.Event().wait(0.01)

    model = Model(throttle, Limits(1))
    found, requests = answers(model, TEXTS, concurrency=8)
    assert found == [vector_of(text) for text in TEXTS]
    assert requests.requests == 96
    assert max(at_once[-40:]) == 8


def test_without_retry_after_the_delays_grow() -> None:
    times: list[float] = []

    def throttle(texts: Sequence[str]) -> None:
        times.append(time.monotonic())
        if len(times) <= 6:
            raise ThrottledError("429")

    found, requests = answers(Model(throttle), ["text"])
    assert found == [vector_of("text")]
    assert times[6] - times[5] >= 0.75 * 0.001 * 2**5
    assert requests.meter.traffic.push_backs == 6
    assert 0.75 * 0.001 * 2**5 <= requests.meter.traffic.paused_s <= times[6] - times[0]


@pytest.mark.parametrize("wait_s", [LONGEST_WAIT_S + 1, 86_400.0])
def test_a_provider_that_will_let_nothing_through_for_long_is_the_tasks_retry(wait_s: float) -> None:
    def throttle(texts: Sequence[str]) -> None:
        raise ThrottledError("quota of the day is used up.", retry_after_s=wait_s)

    found, _ = answers(Model(throttle), TEXTS)
    assert all(isinstance(answer, TransientError) for answer in found)
    assert f"left alone for {wait_s:.0f} s more" in str(found[0])


def test_what_it_waits_for_is_said() -> None:
    def throttle(texts: Sequence[str]) -> None:
        raise ThrottledError("429", retry_after_s=600)

    model = Model(throttle)
    with Requests(model, model, concurrency=1) as requests:
        future = requests.submit(["text"])
        deadline = time.monotonic() + SOON_S
        while not requests.note and time.monotonic() < deadline:
            threading.Event().wait(0.001)
        assert requests.note == "model 'letters' throttles: waiting for 600 s"
    assert isinstance(future.result()[0], CancelledError)


# -- failures


def test_what_is_not_answered_is_sent_again() -> None:
    failures = iter([TransientError("hung up"), TransientError("500"), TransientError("half an answer")])

    def fail(texts: Sequence[str]) -> None:
        if (error := next(failures, None)) is not None:
            raise error

    found, requests = answers(Model(fail), TEXTS[:10], concurrency=1)
    assert found == [vector_of(text) for text in TEXTS[:10]]
    assert requests.requests == 4


def test_an_outage_ends_all_and_what_was_under_way_still_comes() -> None:
    """Its vectors have been paid for."""
    down = threading.Event()

    def fail(texts: Sequence[str]) -> None:
        if "text 0" in texts:
            assert down.wait(SOON_S)
            return
        down.set() if len(model.asked) > 4 else None
        raise TransientError("no route to host")

    model = Model(fail)
    with Requests(model, model, concurrency=2, first_delay_s=0.001) as requests:
        found = requests.submit(TEXTS).result(SOON_S)
        assert found[:10] == [vector_of(text) for text in TEXTS[:10]]
        assert all("no route" in str(outcome) for outcome in found[10:])
        (later,) = requests.submit(["later"]).result(SOON_S)
        assert "no route" in str(later)


@pytest.mark.parametrize("error", [ConfigurationError("the key is not valid"), RuntimeError("a bug of the author's")])
def test_what_no_retry_helps_is_sent_once(error: Exception) -> None:
    def fail(texts: Sequence[str]) -> None:
        raise error

    model = Model(fail)
    found, _ = answers(model, TEXTS, concurrency=1)
    assert set(found) == {error}
    assert len(model.asked) == 1


def test_leaving_sends_nothing_more() -> None:
    go, begun = threading.Event(), threading.Event()

    def block(texts: Sequence[str]) -> None:
        begun.set()
        go.wait(SOON_S)

    model = Model(block)
    with Requests(model, model, concurrency=1) as requests:
        future = requests.submit(TEXTS)
        assert begun.wait(SOON_S)
        threading.Timer(0.05, go.set).start()
    assert len(model.asked) == 1
    found = future.result()
    assert all(isinstance(outcome, CancelledError) for outcome in found[10:])
    assert found[0] == vector_of("text 0")


@pytest.mark.parametrize("seed", range(10))
def test_a_storm_of_everything_loses_nothing_and_asks_for_nothing_twice(seed: int) -> None:
    """429s, hang-ups and refused texts at random: each text is answered, or refused if it is one of those."""
    chance = random.Random(seed)
    bad = {text for text in TEXTS if chance.random() < 0.1}
    answered: list[str] = []

    def storm(texts: Sequence[str]) -> None:
        kind = chance.random()
        if kind < 0.3:
            raise ThrottledError("429", retry_after_s=0.002)
        if kind < 0.4:
            raise TransientError("hung up")
        if bad & set(texts):
            raise TextRefusedError("too long")
        answered.extend(texts)

    found, requests = answers(Model(storm), TEXTS, concurrency=4)
    for text, answer in zip(TEXTS, found, strict=True):
        if isinstance(answer, TransientError):
            continue
        assert isinstance(answer, TextRefusedError) if text in bad else answer == vector_of(text)
    assert len(answered) == len(set(answered)) == requests.answered


def test_each_request_is_a_step() -> None:
    """Those that were sent away as well."""
    steps: list[tuple[Step, int]] = []

    class Watching(Unobserved):
        @contextmanager
        def step(self, step: Step) -> Iterator[Span]:
            figures: dict[str, int] = {}

            class Texts:
                def set(self, **told: int) -> None:
                    figures.update(told)

            try:
                yield Texts()
            finally:
                steps.append((step, figures["texts"]))

    once = iter([ThrottledError("429", retry_after_s=0.001)])

    def throttle(texts: Sequence[str]) -> None:
        for error in once:
            raise error

    model = Model(throttle)
    with Requests(model, model, concurrency=1, observer=Watching()) as requests:
        requests.submit(TEXTS[:10]).result(SOON_S)
    assert steps == [(Step.EMBED, 10)] * 2
