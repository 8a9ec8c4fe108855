"""Many writers, some with long transactions, while windows are planned and indexed: the naive way loses rows under the very
same writers, ours none."""

from __future__ import annotations

import random
import threading
import time
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from clean_ups import CleanUps, stream_of
from rebuilding_load import beside

from airflow_reindex_provider.core.model import Transform
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner

WRITERS = 6
SECONDS = 6.0

TABLE = """
CREATE TABLE items (
    id int PRIMARY KEY, n int NOT NULL, gone boolean NOT NULL DEFAULT false, updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON items (updated_at, id);
CREATE SEQUENCE ids;
"""


def writer(database: Database, seed: int, outright: bool, stop: threading.Event, errors: list[BaseException]) -> None:
    """Inserts, updates and soft deletes, in transactions of one statement or many, with savepoints, a few rolled back, a
    few open for long. With ``outright`` rows are deleted, put back and given other keys as well."""
    chance = random.Random(seed)
    try:
        with database.connect() as connection:
            while not stop.is_set():
                kind = chance.random()
                try:
                    with connection.transaction(force_rollback=kind < 0.1):
                        for _ in range(chance.randint(1, 8)):
                            change(connection, chance, outright)
                        if kind > 0.85:
                            # Stamped before, committed long after: what the naive way passes by.
                            stop.wait(chance.uniform(0.1, 0.8))
                            change(connection, chance, outright)
                        if kind > 0.5:
                            with connection.transaction(force_rollback=kind > 0.9):
                                change(connection, chance, outright)
                except (psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable):
                    continue
                time.sleep(chance.uniform(0, 0.02))
    except BaseException as error:
        errors.append(error)


def change(connection: psycopg.Connection[Any], chance: random.Random, outright: bool) -> None:
    some = "(SELECT id FROM items WHERE id >= %s ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)"
    place = [chance.randint(0, 3000)]
    match chance.randint(0, 7 if outright else 3):
        case 0 | 1:
            connection.execute("INSERT INTO items (id, n) SELECT nextval('ids'), 0 FROM generate_series(1, 3)")
        case 2:
            connection.execute(f"UPDATE items SET n = n + 1, gone = false, updated_at = now() WHERE id = {some}", place)
        case 3:
            connection.execute(f"UPDATE items SET gone = true, updated_at = now() WHERE id = {some}", place)
        case 4 | 5:
            connection.execute(f"DELETE FROM items WHERE id = {some}", place)
        case 6:
            connection.execute(
                "INSERT INTO items (id, n) SELECT id, 1 FROM items_tombstones WHERE id >= %s ORDER BY id LIMIT 2"
                " ON CONFLICT DO NOTHING",
                place,
            )
        case 7:
            connection.execute(f"UPDATE items SET id = -nextval('ids'), updated_at = now() WHERE id = {some}", place)


def naive(connection: psycopg.Connection[Any], since: str) -> str:
    """What most people write first: all rows changed since the greatest change seen."""
    row = connection.execute(
        "WITH changed AS (SELECT * FROM items WHERE updated_at > %s::timestamptz), moved AS ("
        " INSERT INTO naive SELECT id, n, gone FROM changed"
        " ON CONFLICT (id) DO UPDATE SET n = excluded.n, gone = excluded.gone)"
        " SELECT max(updated_at)::text FROM changed",
        [since],
    ).fetchone()
    return (row and row[0]) or since


@pytest.mark.parametrize("outright", [pytest.param(False, id="soft"), pytest.param(True, id="tombstones")])
@pytest.mark.parametrize("transform", [pytest.param(None, id="pg_copy"), pytest.param(lambda d: d, id="rows")])
def test_nothing_is_lost_under_writers(database: Database, transform: Transform | None, outright: bool) -> None:
    """At the end the index equals the table, with many runs under way while it was written, and clean-ups that purge whatever all
    have passed; the naive copy, made side by side, does not."""
    with database.connect() as connection:
        connection.execute(TABLE)
        connection.execute("CREATE TABLE naive (id int PRIMARY KEY, n int, gone boolean)")
        source = PostgresSource(
            database.conn_id,
            table="public.items",
            primary_key="id",
            cursor_field="updated_at",
            soft_delete_column="gone",
            tombstones=outright,
            margin=timedelta(milliseconds=50),
        )
        if outright:
            source.install_tombstones()
        run = Runner(
            source=source,
            target=PostgresTarget(database.conn_id, index="items_index"),
            transform=transform,
            sizes=Sizes(batch_rows=50, max_batches=5),
            chunk_rows=20,
        )
        stop = threading.Event()
        errors: list[BaseException] = []
        writers = [
            threading.Thread(target=writer, args=(database, seed, outright, stop, errors), daemon=True)
            for seed in range(WRITERS)
        ]
        cleaning, over = CleanUps(stream_of(run)), threading.Event()
        with database.connect() as late, beside(over, lambda: cleaning.run(over)):
            # By construction, whatever the writers do: stamped now, committed after the naive way has seen later ones.
            late.execute("BEGIN")
            late.execute("INSERT INTO items (id, n) SELECT -n, 0 FROM generate_series(1, 10) n")
            for thread in writers:
                thread.start()
            runs, written_meanwhile, since = 0, 0, "-infinity"
            deadline = time.monotonic() + SECONDS
            while (
                time.monotonic() < deadline or runs < 6 or not written_meanwhile or (outright and not cleaning.purged)
            ):
                written_meanwhile += run.run().counts.processed
                runs += 1
                since = naive(connection, since)
                # Only once the naive way has seen rows stamped later.
                if runs >= 3 and since != "-infinity" and late.info.transaction_status:
                    late.execute("COMMIT")
        stop.set()
        for thread in writers:
            thread.join()
        assert errors == []
        time.sleep(0.1)
        run.run()
        since = naive(connection, since)

        assert compare(connection, "items_index") == (0, 0)
        lost, _ = compare(connection, "naive WHERE NOT gone")
        assert lost > 0


def compare(connection: psycopg.Connection[Any], ours: str) -> tuple[int, int]:
    """How many documents are missing or out of date in ours, and how many it has that the table has not."""
    rows, table = f"SELECT id, n FROM {ours}", "SELECT id, n FROM items WHERE NOT gone"
    row = connection.execute(
        f"SELECT (SELECT count(*) FROM ({table} EXCEPT {rows}) AS a), (SELECT count(*) FROM ({rows} EXCEPT {table}) AS b)"
    ).fetchone()
    assert row is not None
    return row[0], row[1]
