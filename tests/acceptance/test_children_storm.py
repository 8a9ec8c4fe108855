"""Writers change, delete and move products, reviews, comments, brands and links, some with long transactions, beside purges,
clean-ups and runs that are killed at random: in the end each document is what one SQL statement says."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import forking
import psycopg
import pytest
from clean_ups import CleanUps, stream_of
from dying import run_until_killed
from rebuilding_load import beside
from shop_writes import ALONE, WRITES
from storms import tries

from airflow_reindex_provider.checkpoints.table import TableCheckpoint
from airflow_reindex_provider.control.tombstones import purge_tombstones
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.recording import RecordingSource
from airflow_reindex_provider.core.sweeping.records import Compare
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.search_engine import SearchEngine
from airflow_reindex_provider.testing.sweeps import Sweeper
from tests.conformance.shop import SAID, SHOP, shop_source

SEEDS = range(tries(2, of=10))
KILLS = 4
WRITERS = 4
WORK_S = (0.02, 0.3)
"""When a process is killed, in seconds of processor time: in its first run, or after several."""
MARGIN = timedelta(milliseconds=20)

ROWS = """
INSERT INTO countries SELECT n, 'country ' || n FROM generate_series(1, 3) n;
INSERT INTO brands SELECT n, 'brand ' || n, n % 4 FROM generate_series(1, 50) n;
INSERT INTO products SELECT n, 'product ' || n, n % 51 FROM generate_series(1, 200) n;
INSERT INTO reviews SELECT n, n % 205, n % 5, 'review ' || n, n % 7 = 0 FROM generate_series(1, 500) n;
INSERT INTO comments SELECT n % 500, n, 'comment ' || n FROM generate_series(1, 600) n;
INSERT INTO categories SELECT n, 'category ' || n % 3 FROM generate_series(1, 40) n;
INSERT INTO product_categories SELECT n % 200, n % 41 FROM generate_series(1, 600) n GROUP BY 1, 2;
"""
forking.load(__name__, "airflow_reindex_provider.targets.search.session")


def runner(target: str, conn_id: str, database: Database) -> Runner:
    return Runner(
        source=shop_source(database, margin=MARGIN),
        target=PostgresTarget(conn_id, index="products_index")
        if target == "postgres"
        else OpenSearchTarget(target, index=f"children-storm-{database.name.replace('_', '-')}", nested=("reviews",)),
        store=TableCheckpoint(database.conn_id),
        sizes=Sizes(batch_rows=100, max_batches=2),
        chunk_rows=20,
    )


def run_on(target: str, database: Database, env: Mapping[str, str], work_s: float, wait_s: float) -> None:
    run_until_killed(lambda: runner(target, database.conn_id, database).run(), env, work_s, wait_s)


def write(database: Database, seed: int, stop: threading.Event, errors: list[BaseException]) -> None:
    chance = random.Random(seed)
    try:
        with database.connect() as connection:
            while not stop.is_set():
                kind = chance.random()
                try:
                    with connection.transaction(force_rollback=kind < 0.1):
                        for _ in range(chance.randint(1, 4)):
                            change(connection, chance)
                        if kind > 0.9:
                            stop.wait(chance.uniform(0.05, 0.2))
                            change(connection, chance)
                except (psycopg.errors.DeadlockDetected, psycopg.errors.UniqueViolation):
                    continue
                time.sleep(chance.uniform(0.01, 0.05))
    except BaseException as error:
        errors.append(error)


def change(connection: psycopg.Connection[Any], chance: random.Random) -> None:
    numbers = {
        "p": chance.randint(1, 205),
        "r": chance.randint(1, 520),
        "b": chance.randint(0, 50),
        "c": chance.randint(0, 40),
    }
    for statement in chance.choice(WRITES).format(n=chance.randint(1, 10**6), **numbers).split(";"):
        connection.execute(statement.encode())


def said(connection: psycopg.Connection[Any]) -> dict[str, dict[str, Any]]:
    cursor = connection.execute(SAID)
    names = [column.name for column in cursor.description or ()]
    return {str(row[0]): dict(zip(names, row, strict=True)) for row in cursor}


def bring_all(connection: psycopg.Connection[Any], run: Runner) -> None:
    """What is committed, once it lies below the horizon."""
    (written,) = connection.execute("SELECT clock_timestamp()").fetchone() or ("",)
    late = "SELECT now() <= %s + %s"
    while connection.execute(late, [written, 2 * MARGIN]).fetchone() == (True,):
        pass
    run.run()


@pytest.mark.storm
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("target", ["postgres", "opensearch"])
def test_each_document_is_what_one_statement_says(
    database: Database, target: str, seed: int, request: pytest.FixtureRequest
) -> None:
    """Nothing is lost, nothing stays that has left, and a sweep finds every version as it should be."""
    engine: SearchEngine | None = request.getfixturevalue("opensearch") if target == "opensearch" else None
    chance, errors = random.Random(seed), list[BaseException]()
    stop, over = threading.Event(), threading.Event()
    env = {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW")}
    with database.connect() as connection:
        connection.execute(SHOP + ROWS)
        run = runner(target, database.conn_id, database)
        assert isinstance(run.source, RecordingSource)
        run.source.install_tombstones()
        writers = [
            threading.Thread(target=write, args=(database, seed * 100 + n, stop, errors), daemon=True)
            for n in range(WRITERS)
        ]
        for writer in writers:
            writer.start()
        killed, purged = 0, 0
        stream = stream_of(run)
        cleaning = CleanUps(stream)
        with beside(over, lambda: cleaning.run(over, pause_s=0.3)):
            while killed < KILLS or not purged:
                moment = chance.uniform(*WORK_S), chance.uniform(0.0001, 0.02)
                process = forking.started(run_on, target, database, env, *moment)
                process.join()
                assert process.exitcode == -signal.SIGALRM
                killed += 1
                try:
                    purged += purge_tombstones(stream, older_than=timedelta(0))
                except ConfigurationError:
                    # No run has come to its end yet.
                    continue
            cleaning.wait_for_a_whole_one()
        assert cleaning.dropped == []
        stop.set()
        for writer in writers:
            writer.join()
        assert errors == []
        bring_all(connection, run)
        for product in chance.sample(range(1, 201), 60):
            statement = chance.choice(ALONE).format(p=product, b=product % 51)
            connection.execute(statement.encode())
        bring_all(connection, run)
        if engine is None:
            index = connection.execute("SELECT id, title, brand, reviews, categories FROM products_index").fetchall()
            found = {
                str(row[0]): dict(zip(("id", "title", "brand", "reviews", "categories"), row, strict=True))
                for row in index
            }
        else:
            found = engine.documents(run.target.index) or {}  # type: ignore[attr-defined]
        assert found == said(connection)
        report, _ = Sweeper(run=run, max_delete_fraction=1, what=Compare.VERSIONS).sweep()
        assert not report.counts
        assert report.indexed == len(found)
