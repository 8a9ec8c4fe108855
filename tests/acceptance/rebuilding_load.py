"""What goes on beside a rebuild in the tests: writers, incremental runs, and a reader that never sees a gap.

They pause, since what is to be seen is the rebuild: without pauses they would take most of the machine from it.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from airflow_reindex_provider.core.errors import GenerationGoneError
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder

NEW = 1_000_000
"""Keys from here on are handed out to new rows, which stay."""


def make_items(connection: psycopg.Connection[Any], rows: int) -> None:
    """The table that ``rebuilding_process.rebuilder`` reads."""
    connection.execute(
        "CREATE TABLE items (id int PRIMARY KEY, body text, gone_at timestamptz,"
        " updated_at timestamptz NOT NULL DEFAULT now())"
    )
    connection.execute("CREATE INDEX ON items (updated_at, id)")
    connection.execute(f"CREATE SEQUENCE new_ids START {NEW}")
    connection.execute(
        "INSERT INTO items SELECT n, md5(n::text), NULL, now() - interval '1 h' FROM generate_series(0, %s) n",
        [rows - 1],
    )


def differences(connection: psycopg.Connection[Any]) -> int:
    """Documents that are not as their rows, either way."""
    row = connection.execute(
        "WITH wanted AS (SELECT id, body, updated_at FROM items WHERE gone_at IS NULL),"
        " held AS (SELECT id, body, updated_at FROM items_index)"
        " SELECT count(*) FROM ((TABLE wanted EXCEPT TABLE held) UNION ALL (TABLE held EXCEPT TABLE wanted)) AS d"
    ).fetchone()
    assert row is not None
    return int(row[0])


def write(database: Database, seed: int, over: threading.Event, *, kept: int, keys: int) -> None:
    """Changes rows, and marks those from ``kept`` on as deleted now and then; inserts new ones that stay."""
    chance = random.Random(seed)
    with database.connect() as connection:
        while not over.wait(0.02):
            key = chance.randrange(keys)
            gone = "now()" if key >= kept and chance.random() < 0.3 else "NULL"
            connection.execute(
                f"INSERT INTO items VALUES (%s, %s, {gone}) ON CONFLICT (id)"
                f" DO UPDATE SET body = excluded.body, gone_at = {gone}, updated_at = now()",
                [key, str(chance.random())],
            )
            if chance.random() < 0.2:
                connection.execute("INSERT INTO items VALUES (nextval('new_ids'), 'new')")


def read(database: Database, over: threading.Event, *, kept: int) -> None:
    """All rows that are always there are always found, and what is new stays once it was found."""
    new = 0
    with database.connect() as connection:
        while not over.wait(0.03):
            row = connection.execute(
                "SELECT count(*) FILTER (WHERE id < %s), count(*) FILTER (WHERE id >= %s) FROM items_index", [kept, NEW]
            ).fetchone()
            assert row is not None
            assert row[0] == kept, f"a reader saw {row[0]} of {kept} documents"
            assert row[1] >= new, f"a reader saw {new} new documents, and {row[1]} later"
            new = row[1]


def runs(shop: Rebuilder, over: threading.Event) -> None:
    """Incremental runs, one after the other."""
    while not over.wait(0.5):
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
