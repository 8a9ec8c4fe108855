"""SIGKILL at each step of a rebuild, while writers write, runs go on and a reader looks: what is live is served all the
while, and a retry or a new run ends with an index equal to the table."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from rebuilding_load import beside, differences, make_items, read, runs, write
from rebuilding_process import PLACES, rebuilder, started

from airflow_reindex_provider.testing.postgres import Database

ROWS, KEPT = 3_000, 2_500


@pytest.fixture
def db(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with database.connect() as connection:
        make_items(connection, ROWS)
        yield connection


def generations(db: psycopg.Connection[Any]) -> list[str]:
    names = "SELECT tablename FROM pg_tables WHERE tablename LIKE 'items\\_index\\_%' ORDER BY 1"
    return [name for (name,) in db.execute(names)]


@pytest.mark.parametrize("place", PLACES)
def test_killed_at(database: Database, db: psycopg.Connection[Any], place: str) -> None:
    """Killed, and tried again as a retry of the same run; killed again, and left to the next run, which clears away what
    was left. No lock, no table and no checkpoint of the dead is in anybody's way."""
    shop = rebuilder(database.conn_id, retain=0)
    shop.run.run()
    over = threading.Event()
    with beside(
        over,
        lambda: write(database, 1, over, kept=KEPT, keys=ROWS + 500),
        lambda: read(database, over, kept=KEPT),
        lambda: runs(shop, over),
    ):
        for killed, next_one in (("20990101t000001", "20990101t000001"), ("20990101t000002", "20990101t000003")):
            process = started(database, killed, place, retain=0)
            process.join(60)
            assert process.exitcode == -signal.SIGKILL
            live = shop.rebuild(next_one)
            assert live.endswith(next_one)
            assert generations(db) == [live]
    shop.run.run()
    assert differences(db) == 0
