"""A real search engine is rebuilt, rolled back and rebuilt again while writers write, runs and clean-ups go on and rebuilds are
killed at random moments: who searches never finds a document missing, and in the end the index equals the table."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import forking
import psycopg
import pytest
from clean_ups import CleanUps, leased, stream_of
from rebuilding_load import beside, make_items, runs, write

from airflow_reindex_provider.checkpoints.table import TableCheckpoint
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.elasticsearch import ElasticsearchTarget
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.search_engine import SearchEngine

TARGETS = {"opensearch": OpenSearchTarget, "elasticsearch": ElasticsearchTarget}
ROWS = 3_000
KEPT = 2_500
"""Keys from here on may be deleted; those before are always there."""
KILLS = 4

_numbers = itertools.count(1)
forking.load(__name__, "airflow_reindex_provider.targets.search.session")


@pytest.fixture(params=sorted(TARGETS))
def engine(request: pytest.FixtureRequest) -> SearchEngine:
    engine: SearchEngine = request.getfixturevalue(request.param)
    return engine


@pytest.fixture
def db(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with database.connect() as connection:
        make_items(connection, ROWS)
        yield connection


def rebuilder(conn_id: str, engine: str, index: str) -> Rebuilder:
    source = PostgresSource(
        conn_id,
        table="items",
        primary_key="id",
        cursor_field="updated_at",
        soft_delete_column="gone_at",
        margin=timedelta(0),
    )
    run = Runner(
        source=source,
        target=TARGETS[engine](engine, index=index),
        store=TableCheckpoint(conn_id),
        sizes=Sizes(batch_rows=1000, max_batches=8),
        chunk_rows=500,
    )
    return Rebuilder(run=run)


def search(engine: SearchEngine, path: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{engine.url}/{path}", data, {"content-type": "application/json"}, method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def look(engine: SearchEngine, index: str, over: threading.Event) -> None:
    while not over.wait(0.02):
        found = search(engine, f"{index}/_count", {"query": {"range": {"id": {"lt": KEPT}}}})["count"]
        assert found == KEPT, f"a search found {found} of {KEPT} documents"


def bodies(engine: SearchEngine, index: str) -> dict[str, str]:
    """Of all documents by key, however many the writers had time for: a page of them at a time."""
    found: dict[str, str] = {}
    page: dict[str, Any] = {"size": 10_000, "sort": ["id"], "track_total_hits": True}
    while hits := search(engine, f"{index}/_search", page)["hits"]["hits"]:
        found |= {hit["_id"]: hit["_source"]["body"] for hit in hits}
        page["search_after"] = hits[-1]["sort"]
    return found


def test_no_gap_and_no_loss(database: Database, db: psycopg.Connection[Any], engine: SearchEngine) -> None:
    """Also where the dead left a half-built generation, which a clean-up takes, or one that was about to be served."""
    index = f"load-{next(_numbers)}"
    shop = rebuilder(database.conn_id, engine.name, index)
    shop.run.run()
    chance = random.Random(7)
    over = threading.Event()
    writers = [lambda n=n: write(database, n, over, kept=KEPT, keys=ROWS + 500) for n in range(2)]
    cleaning = CleanUps(stream_of(shop.run), shop.retain)
    lease = partial(leased, shop.run.store, shop.run.stream)
    killed = 0
    works = (lambda: look(engine, index, over), lambda: runs(shop, over), lambda: cleaning.run(over, pause_s=0.3))
    with beside(over, *writers, *works):
        for number in range(KILLS):
            ours, theirs = forking.pipe()
            stamp = f"2026060{number + 1}t000000"
            with lease():
                process = forking.started(
                    _rebuild, dict(os.environ), database.conn_id, engine.name, index, stamp, theirs
                )
                theirs.close()
                ours.recv()
                time.sleep(chance.uniform(0.2, 4))
                process.kill()
                process.join()
            assert process.exitcode in (0, -signal.SIGKILL)
            killed += process.exitcode != 0
        cleaning.wait_for_a_whole_one()
        with lease():
            second = shop.rebuild("20260701t000000")
            shop.rollback()
            third = shop.rebuild("20260801t000000")
    shop.run.run()

    assert killed > 0
    with shop.run.target.open(shop.run.stream) as target:
        generations = target.generations()
    assert [g.name for g in generations if g.live] == [third]
    assert second != third
    assert len(generations) == 2
    search(engine, f"{index}/_refresh")
    rows = db.execute("SELECT id::text, body FROM items WHERE gone_at IS NULL").fetchall()
    assert bodies(engine, index) == dict(rows)


def _rebuild(env: dict[str, str], conn_id: str, engine: str, index: str, stamp: str, begun: Connection) -> None:
    os.environ.update(env)
    begun.send(None)
    rebuilder(conn_id, engine, index).rebuild(stamp)
