"""Workers that meet at one document, and searches while the model changes."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from passages_under_test import Articles, CountingEmbedder
from storms import tries

from airflow_reindex_provider.core.embedding.embedder import Answer
from airflow_reindex_provider.core.embedding.requests import Requests
from airflow_reindex_provider.core.model import BatchResult
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder


@pytest.fixture
def articles(database: Database, monkeypatch: pytest.MonkeyPatch) -> Articles:
    monkeypatch.setitem(Requests.__init__.__kwdefaults__, "first_delay_s", 0.01)
    return Articles(database)


class HeldEmbedder(CountingEmbedder):
    """Answers texts with the word "slow" only when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.let = threading.Event(), threading.Event()

    def embed(self, texts: Sequence[str]) -> Answer:
        if any("slow" in text for text in texts):
            self.asked.set()
            assert self.let.wait(60)
        return super().embed(texts)


class OtherEmbedder(CountingEmbedder):
    """Vectors of the same width, that begin with a number below zero."""

    def __init__(self) -> None:
        super().__init__(name="another model")

    def embed(self, texts: Sequence[str]) -> Answer:
        answer = super().embed(texts)
        for vector in answer.vectors:
            vector[0] = -vector[0]
        return answer


@pytest.mark.parametrize("newer", ["longer body.\n\nand more", "short", None])
def test_a_slow_worker_changes_nothing(articles: Articles, newer: str | None) -> None:
    """It has read an older state, and the model lets it wait until another worker has written the newer one: shorter, longer, or
    gone. The newer state stays, whole."""
    articles.put(1, "Boots", "first.\n\nsecond.\n\nthird.")
    articles.run()
    held = articles.with_model(HeldEmbedder())
    held.put(1, "Boots", "first.\n\nslow one.\n\nslow two.\n\nslow three.")
    plan = held.runner.plan()
    with ThreadPoolExecutor(1) as pool:
        (batch,) = plan.batches
        late = pool.submit(held.runner.index, batch)
        assert isinstance(held.model, HeldEmbedder)
        assert held.model.asked.wait(60)
        if newer is None:
            articles.remove(1)
        else:
            articles.put(1, "Boots", newer)
        articles.run()
        articles.require_true()
        held.model.let.set()
        result: BatchResult = late.result(60)

    assert result.counts.version_conflicts == 1
    articles.require_true()


@pytest.mark.storm
@pytest.mark.parametrize("seed", range(tries(2, of=5)))
def test_workers_in_any_order(articles: Articles, seed: int) -> None:
    """Batches that were planned at different times are written all at once, some twice: the last state of each row
    wins, with all of its passages and no other."""
    dice = random.Random(seed)
    for n in range(20):
        articles.put(n, f"Title {n}", "start.")
    articles.run()
    plans = []
    for version in range(4):
        for n in dice.sample(range(20), 12):
            if dice.random() < 0.2:
                articles.remove(n)
            else:
                pieces = [f"piece {dice.randrange(6)}." for _ in range(dice.randint(0, 4))]
                articles.execute(f"UPDATE article SET gone = false WHERE id = {n}")
                articles.put(n, f"Title {n} {version}", "\n\n".join(pieces))
        plans.append(articles.runner.plan())
    batches = [batch for plan in plans for batch in plan.batches] * 2
    dice.shuffle(batches)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(articles.runner.index, batches))

    articles.require_true()


def test_searches_see_one_model_all_the_time(articles: Articles, database: Database) -> None:
    """A reader asks all the time during a rebuild with another model of the same width: each answer is of one model and of
    all rows, and each document has its passages."""
    for n in range(200):
        articles.put(n, f"Title {n}", f"First {n}.\n\nSecond {n}.")
    articles.run()
    other = articles.with_model(OtherEmbedder())
    ended = threading.Event()
    seen: set[tuple[int, int, int]] = set()

    def read() -> None:
        with database.connect() as connection:
            while not ended.is_set():
                seen.update(
                    connection.execute(
                        "SELECT (SELECT count(*) FROM articles), count(*), count(*) FILTER (WHERE (embedding::real[])[1] < 0)"
                        " FROM articles_passages"
                    ).fetchall()
                )

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            Rebuilder(run=other.runner).rebuild("20260601t000000")
        finally:
            ended.set()
        reading.result(60)

    assert seen == {(200, 600, 0), (200, 600, 600)}
    assert len(other.model.texts) == 600
    other.model.texts.clear()
    Rebuilder(run=other.runner).rebuild("20260602t000000")
    assert other.model.texts == []
