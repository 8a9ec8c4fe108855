"""Workers that meet at one document, and searches while the model changes."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from passages_elsewhere import KINDS, articles_in
from passages_under_test import Articles, CountingEmbedder, Seen, TurnedEmbedder
from storms import tries

from airflow_reindex_provider.core.embedding.embedder import Answer
from airflow_reindex_provider.core.embedding.requests import Requests
from airflow_reindex_provider.core.model import BatchResult, Guarantee
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder


@pytest.fixture
def articles(database: Database, monkeypatch: pytest.MonkeyPatch) -> Articles:
    monkeypatch.setitem(Requests.__init__.__kwdefaults__, "first_delay_s", 0.01)
    return Articles(database)


@pytest.fixture(params=KINDS)
def everywhere(
    request: pytest.FixtureRequest, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Articles:
    """On every target that says ``versioned``."""
    found = articles_in(request.param, database, request=request, tmp_path=tmp_path, monkeypatch=monkeypatch)
    assert found.runner.target.guarantee is Guarantee.VERSIONED
    return found


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


@pytest.mark.parametrize("newer", ["longer body.\n\nand more", "short", None])
def test_a_slow_worker_changes_nothing(everywhere: Articles, newer: str | None) -> None:
    """It has read an older state, and the model lets it wait until another worker has written the newer one: shorter, longer, or
    gone. The newer state stays, whole."""
    articles = everywhere
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


def test_searches_see_no_gap_and_no_mixture(everywhere: Articles) -> None:
    """A reader asks all the time during a rebuild with a new column, and then with another model of the same width: each answer
    has all rows with all their passages, and is of one generation. The first rebuild embeds nothing, the second all."""
    articles, rows = everywhere, 60
    for n in range(rows):
        articles.put(n, f"Title {n}", f"First {n}.\n\nSecond {n}.")
    articles.run()
    articles.model.texts.clear()
    articles.execute("ALTER TABLE article ADD COLUMN colour text DEFAULT 'red'")
    with asked_all_the_time(articles) as seen:
        Rebuilder(run=articles.runner).rebuild("20260601t000000")
    assert seen == {Seen(rows, 0, 3 * rows, 0), Seen(rows, rows, 3 * rows, 0)}
    assert articles.model.texts == []

    other = articles.with_model(TurnedEmbedder())
    with asked_all_the_time(articles) as seen:
        Rebuilder(run=other.runner).rebuild("20260602t000000")
    assert seen == {Seen(rows, rows, 3 * rows, 0), Seen(rows, rows, 3 * rows, 3 * rows)}
    assert len(other.model.texts) == len(set(other.model.texts)) == 3 * rows


@contextmanager
def asked_all_the_time(articles: Articles) -> Iterator[set[Seen]]:
    """By another thread, before, meanwhile and once behind it. :yields: what it has seen, complete at the end."""
    seen: set[Seen] = set()
    begun, ended = threading.Event(), threading.Event()

    def read() -> None:
        with articles.searching() as search:
            while not ended.is_set():
                seen.add(search())
                begun.set()
            seen.add(search())

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            assert begun.wait(60)
            yield seen
        finally:
            ended.set()
        reading.result(60)
