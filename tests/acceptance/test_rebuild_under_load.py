"""Rebuild, swap, rollback and rebuild again while writers write and incremental runs go on: no gap, and nothing is lost."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.checkpoints.table import TableCheckpoint
from airflow_reindex_provider.core.errors import ConfigurationError, GenerationGoneError
from airflow_reindex_provider.core.planning import Sizes
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.runs import Runner

Connection = psycopg.Connection[Any]
ROWS = 5_000
KEPT = 4_000
"""Keys from here on may be deleted; those before are always there."""


@pytest.fixture
def db(database: Database) -> Iterator[Connection]:
    with database.connect() as connection:
        connection.execute(
            "CREATE TABLE items (id int PRIMARY KEY, body text, gone_at timestamptz,"
            " updated_at timestamptz NOT NULL DEFAULT now())"
        )
        connection.execute("CREATE INDEX ON items (updated_at, id)")
        connection.execute(
            "INSERT INTO items SELECT n, md5(n::text), NULL, now() - interval '1 h' FROM generate_series(0, %s) n",
            [ROWS - 1],
        )
        yield connection


@pytest.fixture
def shop(database: Database, db: Connection) -> Rebuilder:
    """Loaded and live."""
    run = Runner(
        source=PostgresSource(
            database.conn_id,
            table="items",
            primary_key="id",
            cursor_field="updated_at",
            soft_delete_column="gone_at",
            margin=timedelta(0),
        ),
        target=PostgresTarget(database.conn_id, index="items_index", indexes=("(body)",)),
        store=TableCheckpoint(database.conn_id),
        sizes=Sizes(batch_rows=1000, max_batches=8),
        chunk_rows=500,
    )
    run.run()
    return Rebuilder(run=run)


def write(database: Database, seed: int, over: threading.Event) -> None:
    chance = random.Random(seed)
    with database.connect() as connection:
        while not over.wait(0.002):
            key = chance.randrange(ROWS + 500)
            gone = "now()" if key >= KEPT and chance.random() < 0.3 else "NULL"
            connection.execute(
                f"INSERT INTO items VALUES (%s, %s, {gone}) ON CONFLICT (id)"
                f" DO UPDATE SET body = excluded.body, gone_at = {gone}, updated_at = now()",
                [key, str(chance.random())],
            )


def read(database: Database, over: threading.Event) -> int:
    looks = 0
    with database.connect() as connection:
        while not over.wait(0.005):
            row = connection.execute("SELECT count(*) FROM items_index WHERE id < %s", [KEPT]).fetchone()
            assert row is not None
            assert row[0] >= KEPT, f"a reader saw {row[0]} of {KEPT} documents"
            looks += 1
    return looks


def runs(shop: Rebuilder, over: threading.Event) -> None:
    while not over.wait(0.05):
        # Planned for a generation that was retired before the run was over.
        with suppress(GenerationGoneError):
            shop.run.run()


@contextmanager
def beside(over: threading.Event, *works: Callable[[], object]) -> Iterator[None]:
    """Each in a thread, until the block ends; what went wrong in one of them is raised then."""
    wrong: list[BaseException] = []

    def guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
    if wrong:
        raise wrong[0]


def test_no_gap_and_no_loss(database: Database, db: Connection, shop: Rebuilder) -> None:
    """Three writers, incremental runs and a reader go on all the while; in the end the index equals the table."""
    over = threading.Event()
    writers = [lambda n=n: write(database, n, over) for n in range(3)]
    with beside(over, *writers, lambda: read(database, over), lambda: runs(shop, over)):
        second = shop.rebuild("20990101t000001")
        shop.rollback()
        # Left half built, as by a run that died after its copy.
        shop.copy(shop.begin("20990101t000002"))
        third = shop.rebuild("20990101t000003")
        shop.rollback()
        shop.rollback(third)
    shop.run.run()

    tables = db.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'items_index_%' ORDER BY 1").fetchall()
    assert third in [name for (name,) in tables]
    assert len(tables) == 2
    assert second != third
    left = db.execute(
        "SELECT count(*) FROM ((SELECT id, body, updated_at FROM items WHERE gone_at IS NULL EXCEPT SELECT id, body,"
        " updated_at FROM items_index) UNION ALL (SELECT id, body, updated_at FROM items_index EXCEPT SELECT id, body,"
        " updated_at FROM items WHERE gone_at IS NULL)) AS d"
    ).fetchone()
    assert left == (0,)


def test_the_view_keeps_what_was_given_to_it(db: Connection, shop: Rebuilder) -> None:
    """Grants stay through a swap, also where the columns change and the view is made anew; a view that depends on it is
    then named, and the live index serves on."""
    db.execute("GRANT SELECT ON items_index TO PUBLIC")
    shop.rebuild("20990101t000001")
    db.execute("ALTER TABLE items RENAME body TO text")
    db.execute("CREATE VIEW depends AS SELECT id FROM items_index")
    shop.run.target = PostgresTarget(shop.run.target.conn_id, index="items_index")  # type: ignore[attr-defined]
    with pytest.raises(ConfigurationError, match="depends depends on it"):
        shop.rebuild("20990101t000002")
    assert db.execute("SELECT count(body) FROM items_index").fetchone() == (ROWS,)
    db.execute("DROP VIEW depends")
    shop.rebuild("20990101t000002")
    assert db.execute("SELECT count(text) FROM items_index").fetchone() == (ROWS,)
    grants = db.execute("SELECT relacl::text FROM pg_class WHERE relname = 'items_index'").fetchone()
    assert grants is not None
    assert "=r/" in grants[0]
