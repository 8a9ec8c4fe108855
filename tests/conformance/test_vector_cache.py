"""Vectors in a table of Postgres: what a model has answered once is not paid for again."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from passages_under_test import Articles, CountingEmbedder

from airflow_reindex_provider import LanceTarget, PostgresVectorCache
from airflow_reindex_provider.control.checking import findings
from airflow_reindex_provider.core.embedding.requests import Requests
from airflow_reindex_provider.core.embedding.target import PassageTarget
from airflow_reindex_provider.core.errors import ConfigurationError, TransientError
from airflow_reindex_provider.core.protocols import OwnedTarget
from airflow_reindex_provider.core.running.estimating import estimate
from airflow_reindex_provider.testing.memory import MemoryCheckpoint
from airflow_reindex_provider.testing.postgres import Database

TABLE = "public.vectors"


@pytest.fixture
def cache(database: Database) -> PostgresVectorCache:
    return PostgresVectorCache(database.conn_id, table=TABLE)


@pytest.fixture
def articles(database: Database, cache: PostgresVectorCache, monkeypatch: pytest.MonkeyPatch) -> Articles:
    monkeypatch.setitem(Requests.__init__.__kwdefaults__, "first_delay_s", 0.001)
    return cached(Articles(database), cache)


def cached(articles: Articles, cache: PostgresVectorCache) -> Articles:
    assert articles.runner.embed is not None
    articles.runner = replace(
        articles.runner, embed=replace(articles.runner.embed, cache=cache), target=articles.target()
    )
    return articles


def fill(articles: Articles, rows: int = 10) -> None:
    for n in range(rows):
        articles.put(n, f"Title {n}", f"First {n}.\n\nSecond {n}.")


def forget(articles: Articles) -> None:
    """The index, and how far it had got."""
    with articles.runner.target.open(articles.runner.stream) as target:
        assert isinstance(target, OwnedTarget)
        target.remove()
    articles.runner = replace(articles.runner, store=MemoryCheckpoint())


def test_vectors_come_back_as_they_were(cache: PostgresVectorCache) -> None:
    """To the last bit, and more of them than one statement takes; one that is there stays; hashes that nobody has kept are left
    out."""
    vectors = {n.to_bytes(16, "big"): array("f", [n / 3, -1e-38, 3e38]) for n in range(1_000)}
    with cache.open() as session:
        assert session.having(vectors) == set()
        session.keep(vectors)
        session.keep({bytes(16): array("f", [1, 2, 3])})
        assert session.find([*vectors, b"unknown"]) == vectors
        assert set(session.having([bytes(16), b"unknown"])) == {bytes(16)}


def test_tasks_keep_the_same_texts_at_the_same_moment(cache: PostgresVectorCache) -> None:
    """In any order, into a table that none of them finds."""
    hashes = [n.to_bytes(16, "big") for n in range(400)]

    def keep(number: int) -> None:
        mine = hashes[number * 50 :] + hashes[: number * 50]
        with cache.open() as session:
            for first in range(0, 400, 40):
                session.keep({hash: array("f", [1.0]) for hash in mine[first : first + 40]})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(keep, range(4)))
    with cache.open() as session:
        assert set(session.having(hashes)) == set(hashes)


def test_an_outage_costs_no_text_twice(articles: Articles) -> None:
    """Not those of documents either that were answered in part; and the retry says what it does not ask for."""
    fill(articles)
    model = articles.model
    model.fails_after = 8
    with pytest.raises(TransientError, match="out of order"):
        articles.run()
    asked = len(model.texts)
    model.fails_after = None
    outcome = articles.run()

    assert sorted(model.texts) == sorted({*model.texts})
    assert len(model.texts) == 30
    assert (outcome.passages.passages, outcome.passages.reused) == (30, asked)
    articles.require_true()


def test_a_dropped_index_costs_nothing(articles: Articles) -> None:
    """All generations are gone, and everything is loaded anew. A dry run knows it before."""
    fill(articles)
    articles.run()
    forget(articles)
    articles.model.texts = []
    plan = articles.runner.plan()
    with articles.runner.sessions() as (source, target):
        assert articles.runner.embed is not None
        assert isinstance(target, PassageTarget)
        said = estimate(plan, source=source, target=target, embed=articles.runner.embed)
    assert (said["passages"], said["reused"], said["embedded"]) == (30, 30, 0)
    assert articles.run().passages.reused == 30
    assert articles.model.texts == []
    articles.require_true()


def test_another_engine_costs_nothing(articles: Articles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here LanceDB, by a stream of its own."""
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "generic", "host": str(tmp_path)}))
    fill(articles)
    articles.run()
    articles.model.texts = []
    target = LanceTarget("lake", index="articles")
    elsewhere = replace(articles.runner, target=target, stream="elsewhere", store=MemoryCheckpoint())
    outcome = elsewhere.run()
    assert (outcome.counts.created, outcome.passages.reused, articles.model.texts) == (10, 30, [])


def test_a_refused_text_is_not_kept(articles: Articles, cache: PostgresVectorCache) -> None:
    articles.put(1, "Boots", "This is nothing.")
    assert articles.run().parked == 1
    hashed = articles.model.identity.hasher()
    with cache.open() as session:
        assert set(session.having([hashed("Boots"), hashed("This is nothing.")])) == {hashed("Boots")}


def test_another_model_shares_the_table_and_no_vector(articles: Articles, cache: PostgresVectorCache) -> None:
    fill(articles)
    articles.run()
    other = cached(articles.with_model(CountingEmbedder(name="another model")), cache)
    forget(articles)
    other.runner = replace(other.runner, store=MemoryCheckpoint())
    other.run()
    assert len(other.model.texts) == 30
    other.require_true()


def test_what_is_used_is_not_old(articles: Articles, database: Database) -> None:
    """Whoever deletes what nobody has asked for lately leaves what runs ask for."""
    fill(articles, 2)
    articles.run()
    with database.connect() as connection:
        connection.execute(f"UPDATE {TABLE} SET used_on = CURRENT_DATE - 100")
    articles.remove(0)
    articles.run()
    articles.put(3, "Title 0", None)
    articles.run()
    with database.connect() as connection:
        rows = connection.execute(f"SELECT count(*) FROM {TABLE} WHERE used_on = CURRENT_DATE").fetchall()
    assert rows == [(1,)]


def test_a_table_that_is_none_of_ours(articles: Articles, database: Database) -> None:
    """Refused before the model is asked, with what to do."""
    fill(articles, 1)
    with database.connect() as connection:
        connection.execute(f"CREATE TABLE {TABLE} (id int)")
    with pytest.raises(ConfigurationError, match=r"is no table of vectors .*Name another one"):
        articles.run()
    assert articles.model.texts == []


def test_the_doctor_looks_at_it(articles: Articles, database: Database) -> None:
    def said() -> Iterator[str]:
        return (f.says for f in findings(articles.as_stream()) if f.what == "cache: table")

    assert "the first run makes the table" in next(said())
    fill(articles, 1)
    articles.run()
    assert "may use the table" in next(said())
