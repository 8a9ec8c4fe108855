"""What goes on beside a rebuild in the tests: writers, incremental runs, clean-ups, and a reader that never sees a gap.

They pause, since what is to be seen is the rebuild: without pauses they would take most of the machine from it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg

from airflow_reindex_provider.control.cleaning import Cleaning, drop_orphans, find_orphans
from airflow_reindex_provider.core.cleaning.records import Rules
from airflow_reindex_provider.core.errors import GenerationGoneError, StreamBusyError
from airflow_reindex_provider.core.leases import Keeper
from airflow_reindex_provider.stream import Stream
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


@dataclass
class CleanUps:
    """One after the other; all that nothing needs is old enough. :ivar dropped: names of what has gone. :ivar done: how many."""

    shop: Rebuilder
    dropped: list[str] = field(default_factory=list)
    done: int = 0

    def run(self, over: threading.Event) -> None:
        run = self.shop.run
        stream = Stream(name=run.stream, source=run.source, target=run.target, checkpoint=run.store)
        rules = Rules(self.shop.retain, timedelta(0))
        cleaning = Cleaning(streams=[stream], rules=rules, tombstones_older_than=None)
        while not over.wait(0.1):
            found = find_orphans(cleaning)
            done = drop_orphans(cleaning, found.orphans, holder="a clean-up")
            self.dropped += [orphan.name for orphan in done.dropped]
            wrong = [why for why in (found.troubles | done.troubles).values() if "is busy" not in why]
            assert not wrong
            self.done += 1

    def wait_for_a_whole_one(self) -> None:
        """That has begun after this."""
        enough, deadline = self.done + 2, time.monotonic() + 60
        while self.done < enough:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@contextmanager
def leased(shop: Rebuilder) -> Iterator[None]:
    """Under the stream's lease, as the tasks of a rebuild and a rollback work; a clean-up that has it is waited for."""
    keeper = Keeper(shop.run.store, shop.run.stream, holder="a rebuild", purpose="rebuild")
    deadline = time.monotonic() + 60
    while True:
        try:
            keeper.keep()
            break
        except StreamBusyError:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    try:
        yield
    finally:
        keeper.release()


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
