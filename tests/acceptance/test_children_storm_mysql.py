"""Writers change, delete and move products, reviews, comments, brands and links of MariaDB and MySQL, some with long
transactions, beside purges and runs that are killed at random: in the end each document is what one SQL statement says."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from typing import Any

import forking
import pymysql
import pytest
from clean_ups import stream_of
from dying import run_until_killed
from shop_writes import ALONE, WRITES
from storms import tries

from airflow_reindex_provider.checkpoints.table import TableCheckpoint
from airflow_reindex_provider.control.tombstones import purge_tombstones
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.recording import RecordingSource
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.sources.sql import session
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.mariadb import MariaDatabase
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper
from tests.conformance.shop_mysql import SHOP, my_shop_source, rows, said, statements

CASES = [(server, seed) for seed in range(10) for server in ("mariadb", "mysql")][: tries(1, of=20)]
KILLS = 3
WRITERS = 3
WORK_S = (0.3, 1.5)
"""When a process is killed, in seconds of processor time: in its first run, or after several."""
WAIT_S = 1.0
"""How long a run watches sessions here."""
PRODUCTS, REVIEWS = 60, 150
_PASSING = (1020, 1062, 1205, 1213)
"""A row that has changed meanwhile, a key that is there, a wait that was given up, a deadlock: the writer begins anew."""
forking.load(__name__, "airflow_reindex_provider.sources.mysql.session", "airflow.providers.mysql.hooks.mysql")


def runner(conn_id: str) -> Runner:
    session.WAIT_S = WAIT_S
    return Runner(
        source=my_shop_source(margin=timedelta(milliseconds=20)),
        target=PostgresTarget(conn_id, index="products_index"),
        store=TableCheckpoint(conn_id),
        sizes=Sizes(batch_rows=40, max_batches=2),
        chunk_rows=20,
    )


def run_on(conn_id: str, env: Mapping[str, str], work_s: float, wait_s: float) -> None:
    run_until_killed(lambda: runner(conn_id).run(), env, work_s, wait_s)


def write(database: MariaDatabase, seed: str, stop: threading.Event, errors: list[BaseException]) -> None:
    chance = random.Random(seed)
    try:
        with closing(database.connect(autocommit=False)) as connection, connection.cursor() as cursor:
            while not stop.is_set():
                kind = chance.random()
                try:
                    for _ in range(chance.randint(1, 4)):
                        change(cursor, chance)
                    if kind > 0.9:
                        stop.wait(chance.uniform(0.05, 0.3))
                        change(cursor, chance)
                    (connection.rollback if kind < 0.1 else connection.commit)()
                except pymysql.err.MySQLError as error:
                    if error.args[0] not in _PASSING:
                        raise
                    connection.rollback()
                stop.wait(chance.uniform(0.01, 0.05))
    except BaseException as error:
        errors.append(error)


def change(cursor: Any, chance: random.Random) -> None:
    numbers = {
        "p": chance.randint(1, PRODUCTS),
        "r": chance.randint(1, REVIEWS),
        "b": chance.randint(0, 20),
        "c": chance.randint(0, 15),
    }
    for statement in statements(chance.choice(WRITES).format(n=chance.randint(1, 10**6), **numbers)):
        cursor.execute(statement)


def bring_all(run: Runner) -> None:
    """What is committed, once it lies below the horizon."""
    time.sleep(0.1)
    run.run()


@pytest.mark.storm
@pytest.mark.parametrize(("either_server", "seed"), CASES, indirect=["either_server"])
def test_each_document_is_what_one_statement_says(
    seed: int, either_database: MariaDatabase, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost, nothing stays that has left, and a sweep finds every version as it should be."""
    monkeypatch.setattr(session, "WAIT_S", WAIT_S)
    chance, errors, stop = random.Random(seed), list[BaseException](), threading.Event()
    either_database.execute(*SHOP, *rows())
    run = runner(database.conn_id)
    assert isinstance(run.source, RecordingSource)
    run.source.install_tombstones()
    writers = [
        threading.Thread(target=write, args=(either_database, f"{seed} {n}", stop, errors), daemon=True)
        for n in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    env, stream = {**database.env, **either_database.env}, stream_of(run)
    killed = purged = written_meanwhile = 0
    while killed < KILLS or not purged or not written_meanwhile:
        moment = chance.uniform(*WORK_S), chance.uniform(0.0001, 0.1)
        process = forking.started(run_on, database.conn_id, env, *moment)
        process.join()
        assert process.exitcode == -signal.SIGALRM
        killed += 1
        written_meanwhile += run.run().counts.processed
        try:
            purged += purge_tombstones(stream, older_than=timedelta(0))
        except ConfigurationError:
            # No run has come to its end yet.
            continue
    stop.set()
    for writer in writers:
        writer.join()
    assert errors == []
    bring_all(run)
    for product in chance.sample(range(1, PRODUCTS + 1), 20):
        either_database.execute(*statements(chance.choice(ALONE).format(p=product, b=product % 20)))
    bring_all(run)
    with database.connect() as connection:
        index = "SELECT id, title, brand, reviews, categories FROM products_index ORDER BY id"
        assert connection.execute(index).fetchall() == said(either_database)
    report, _ = Sweeper(run=run, max_delete_fraction=1).sweep()
    assert not report.counts
