"""SIGKILL in the middle of a sweep's repair: what was repaired stays, and a retry does the rest."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import forking
import psycopg
import pytest
from dying import Place, die_at

from airflow_reindex_provider.checkpoints.table import TableCheckpoint
from airflow_reindex_provider.core.sweeping.allowing import allow
from airflow_reindex_provider.core.sweeping.records import Difference, RepairJob, SweepPlan, SweepReport
from airflow_reindex_provider.core.sweeping.repairing import AT_ONCE, Repair
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.targets.postgres.storing import Storing
from airflow_reindex_provider.targets.postgres.writer import PostgresWriter
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper

HARMED = 2 * AT_ONCE
"""Missing, and as many orphaned: each is repaired in two writes."""
PLACES: dict[str, Place] = {
    "before anything is written": (Repair, "_index", 1, "before"),
    "between two writes of rows": (Repair, "_index", 1, "after"),
    "in the middle of a write": (Storing, "store", 2, "after"),
    "looked up, not deleted": (PostgresWriter, "write", 1, "before"),
    "between two deletions": (Repair, "_delete", 1, "after"),
    "all is written": (Repair, "_delete", 2, "after"),
}

forking.load(__name__)


def sweeper(conn_id: str) -> Sweeper:
    source = PostgresSource(conn_id, table="items", primary_key="id", cursor_field="updated_at", margin=timedelta(0))
    run = Runner(
        source=source,
        target=PostgresTarget(conn_id, index="items_index"),
        store=TableCheckpoint(conn_id),
        sizes=Sizes(batch_rows=10 * HARMED),
    )
    return Sweeper(run=run, max_delete_fraction=0.5)


@pytest.fixture
def db(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with database.connect() as connection:
        connection.execute("CREATE TABLE items (id int PRIMARY KEY, body text, updated_at timestamptz NOT NULL)")
        connection.execute(
            "INSERT INTO items SELECT n, md5(n::text), now() - interval '1 h' FROM generate_series(1, %s) AS n",
            [5 * HARMED],
        )
        yield connection


@pytest.mark.parametrize("place", PLACES)
def test_killed_while_it_repairs(database: Database, db: psycopg.Connection[Any], place: str) -> None:
    """The retry compares the range anew and repairs what is left; nothing is deleted that has a row."""
    swept = sweeper(database.conn_id)
    swept.run.run()
    (name,) = db.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'items\\_index\\_%'").fetchone() or ()
    db.execute(f'DELETE FROM "{name}" WHERE id <= %s', [HARMED])
    db.execute("DELETE FROM items WHERE id > %s", [4 * HARMED])
    plan, ranges = swept.plan()
    (job,) = allow(plan, [(part, swept.compare(plan, part)) for part in ranges])

    process = forking.started(_repair, dict(database.env), database.conn_id, plan.to_json(), job.to_json(), place)
    process.join(60)

    assert process.exitcode == -signal.SIGKILL
    left = sum((swept.compare(plan, part) for part in ranges), SweepReport())
    assert left.count(Difference.STALE) == 0
    done = swept.repair(plan, job).counts
    assert (done.created, done.deleted) == (left.count(Difference.MISSING), left.count(Difference.ORPHANED))
    assert db.execute("SELECT * FROM items EXCEPT SELECT * FROM items_index").fetchall() == []
    assert db.execute("SELECT * FROM items_index EXCEPT SELECT * FROM items").fetchall() == []


def _repair(env: dict[str, str], conn_id: str, plan: dict[str, Any], job: dict[str, Any], place: str) -> None:
    os.environ.update(env)
    die_at(PLACES[place])
    sweeper(conn_id).repair(SweepPlan.from_json(plan), RepairJob.from_json(job))
