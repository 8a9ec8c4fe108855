"""Whatever happens while texts are embedded, each document ends with the passages that its row makes, and hardly a text is
embedded twice: processes are killed, the model is out of order and throttles, in first loads, runs and rebuilds."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from passages_under_test import Articles, CountingEmbedder, paragraphs
from storms import tries

from airflow_reindex_provider.checkpoints.table import TableCheckpoint
from airflow_reindex_provider.core.embedding.embed import Embed
from airflow_reindex_provider.core.embedding.embedder import Answer
from airflow_reindex_provider.core.embedding.requests import Requests
from airflow_reindex_provider.core.errors import ReindexError, ThrottledError, TransientError
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder

ROWS = 500
"""Enough for what an interruption may cost, the dozen texts that are asked for and not written, to be a small part."""
SEEDS = range(tries(2, of=10))


class RoughEmbedder(CountingEmbedder):
    """Notes every text that it answers in a file, which outlives the process, and is out of order now and then.

    :ivar weather: how likely a request is throttled, and how likely one is the first of an outage."""

    def __init__(self, notes: Path, seed: int) -> None:
        super().__init__(texts_a_request=3)
        self._notes = notes
        self._random = random.Random(seed)
        self._out_of_order = 0
        self.weather = (0.0, 0.0)

    def begin_try(self, seed: float) -> None:
        """Of a process that is forked, which else had the weather of the one before it, request for request."""
        self._random = random.Random(seed)

    def embed(self, texts: Sequence[str]) -> Answer:
        throttles, breaks = self.weather
        with self._lock:
            if self._out_of_order:
                self._out_of_order -= 1
                raise TransientError("the model is out of order")
            if self._random.random() < breaks:
                self._out_of_order = 20
                raise TransientError("the model is out of order")
            if self._random.random() < throttles:
                raise ThrottledError("too many requests", retry_after_s=0.001)
        answer = super().embed(texts)
        with self._notes.open("a") as notes:
            notes.write("".join(f"{text}\n" for text in texts))
        return answer


@pytest.mark.storm
@pytest.mark.parametrize("seed", SEEDS)
def test_storm(database: Database, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Requests.__init__.__kwdefaults__, "first_delay_s", 0.001)
    dice = random.Random(seed)
    model = RoughEmbedder(tmp_path / "texts", seed)
    articles = Articles(database).with_model(model)
    runner = articles.runner = replace(
        articles.runner,
        embed=Embed(("title", "body"), model=model, splitter=paragraphs, concurrency=2),
        store=TableCheckpoint(database.conn_id, table="public.checkpoints"),
        chunk_rows=dice.choice([7, 100, 1000]),
    )
    for n in range(ROWS):
        articles.put(n, f"Title {n}", body(dice, n))
    model.weather = (0.1, 0.004)
    until_done(dice, model, runner.run, kills=1)
    articles.require_true()
    for _ in range(2):
        change(dice, articles)
        model.weather = (0.1, 0.01)
        until_done(dice, model, runner.run, kills=dice.randint(0, 1))
        model.weather = (0.0, 0.0)
        runner.run()
        articles.require_true()
    rebuilder = Rebuilder(run=runner)
    until_done(dice, model, lambda: rebuilder.rebuild("20260601t000000"), kills=2)
    change(dice, articles)
    runner.run()
    articles.require_true()

    asked = (tmp_path / "texts").read_text().splitlines()
    assert len(asked) <= 1.02 * len(set(asked))


def body(dice: random.Random, n: int) -> str:
    pieces = [f"Paragraph {dice.randrange(10**9)}." for _ in range(dice.randint(2, 6))]
    if n % 10 == 0:
        pieces.insert(dice.randint(0, len(pieces)), "What all of them say.")
    return "\n\n".join(pieces)


def change(dice: random.Random, articles: Articles) -> None:
    for n in dice.sample(range(ROWS), 25):
        articles.put(n, f"Title {n}", body(dice, n))
    for n in dice.sample(range(ROWS), 5):
        articles.remove(n)
    articles.execute("UPDATE article SET price = price + 1, changed = clock_timestamp() WHERE id % 50 = 7")


def until_done(dice: random.Random, model: RoughEmbedder, work: Callable[[], object], *, kills: int) -> None:
    """In processes of their own: some are killed, some end with an error of the model; then the next one goes on."""
    for _ in range(200):
        model.begin_try(dice.random())
        with forked(work) as process:
            if kills:
                kills -= 1
                time.sleep(dice.uniform(0.1, 1.0))
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
        if status == 0:
            return
    raise AssertionError("it did not get done")


@contextmanager
def forked(work: Callable[[], object]) -> Iterator[int]:
    process = os.fork()
    if process == 0:
        status = 1
        try:
            work()
            status = 0
        except ReindexError:
            status = 2
        finally:
            os._exit(status)
    yield process
