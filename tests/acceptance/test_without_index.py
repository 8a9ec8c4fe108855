"""A batch whose rows no index has in order is written chunk by chunk all the same: seen, stopped, and resumed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.core.errors import IndexingStoppedError
from airflow_reindex_provider.core.model import Batch, BatchResult, Transform
from airflow_reindex_provider.core.progress import Progress
from airflow_reindex_provider.core.running.indexing import WRITES_AT_ONCE, index_batch
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.memory import MemoryReporter, MemoryResumeLog
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner

Connection = psycopg.Connection[Any]
READ: dict[str, dict[str, Any]] = {
    "table": {"table": "items"},
    "query": {"query": "SELECT * FROM items WHERE id > 0"},
    "view": {"table": "things"},
    "key as cursor": {"table": "items", "cursor_field": "id"},
}


@pytest.fixture
def db(database: Database) -> Iterator[Connection]:
    with database.connect() as connection:
        connection.execute("CREATE TABLE items (id int PRIMARY KEY, body text, updated_at timestamptz NOT NULL)")
        connection.execute("CREATE VIEW things AS SELECT id, upper(body) AS body, updated_at FROM items")
        yield connection


def fill(db: Connection, rows: int) -> None:
    """Half of them share one cursor value, as after a bulk load."""
    db.execute(
        "INSERT INTO items SELECT n, md5(n::text), timestamptz '2026-01-01Z' + greatest(0, n - %s) * interval '1 s'"
        " FROM generate_series(1, %s) n",
        [rows // 2, rows],
    )


def runner(database: Database, rows: int, transform: Transform | None = None, **read: Any) -> Runner:
    options = {"primary_key": "id", "cursor_field": "updated_at", "margin": timedelta(0), **read}
    return Runner(
        source=PostgresSource(database.conn_id, **options),
        target=PostgresTarget(database.conn_id, index="items_index"),
        transform=transform,
        sizes=Sizes(batch_rows=rows, max_batches=1),
    )


def index(
    run: Runner, batch: Batch, chunk_rows: int, resume: MemoryResumeLog, stop_after: int | None = None
) -> tuple[BatchResult | None, list[dict[str, Any]]]:
    """Stopped once so many rows are acknowledged. What came of it, and all that was reported."""
    reporter = MemoryReporter()
    progress = Progress(batch, "incremental", reporter, interval_s=0)

    def stop() -> bool:
        return stop_after is not None and progress.counts.processed >= stop_after

    with run.sessions() as (source, target):
        try:
            result = index_batch(
                batch,
                source=source,
                target=target,
                format=run.format,
                chunk_rows=chunk_rows,
                max_failures=0,
                progress=progress,
                resume=resume,
                transform=run.transform,
                should_stop=stop,
            )
        except IndexingStoppedError:
            return None, reporter.records
    return result, reporter.records


@pytest.mark.parametrize("transform", [None, lambda row: row], ids=["bytes", "rows"])
@pytest.mark.parametrize("read", READ.values(), ids=list(READ))
def test_chunks_are_seen_stopped_and_resumed(
    database: Database, db: Connection, read: dict[str, Any], transform: Transform | None
) -> None:
    """Progress after every chunk, a stop between two, and no chunk a second time but those that were on their way."""
    fill(db, 3_000)
    run = runner(database, 3_000, transform, **read)
    plan = run.plan()
    (batch,) = plan.batches
    resume = MemoryResumeLog()

    stopped, records = index(run, batch, 200, resume, stop_after=1_000)
    assert stopped is None
    assert [r["processed"] for r in records] == [0, 200, 400, 600, 800, 1_000, 1_000]
    assert records[-1]["status"] == "cancelled"

    result, records = index(run, batch, 200, resume)
    assert result is not None
    assert [r["processed"] for r in records] == [*range(1_000, 3_001, 200), 3_000]
    assert records[0]["message"].startswith("goes on after 1,000 rows")
    assert result.counts.processed == 3_000
    assert result.counts.updated <= WRITES_AT_ONCE * 200
    run.settle(plan, [result])
    row = db.execute("SELECT count(*) FROM items_index AS i JOIN items USING (id) WHERE lower(i.body) = items.body")
    assert row.fetchone() == (3_000,)


def test_it_is_said_that_the_server_sorts(database: Database, db: Connection) -> None:
    """Until the first row comes, the progress record says what is waited for; with an index nothing is."""
    fill(db, 60_000)
    db.execute("ANALYZE items")
    run = runner(database, 60_000, table="items")
    (batch,) = run.plan().batches
    _, records = index(run, batch, 10_000, MemoryResumeLog())
    assert "sorts 60,000 rows" in records[0]["message"]
    assert [r["processed"] for r in records] == [*range(0, 60_001, 10_000), 60_000]
    assert {r["message"] for r in records[1:]} == {""}

    db.execute("CREATE INDEX ON items (updated_at, id)")
    _, records = index(run, batch, 10_000, MemoryResumeLog())
    assert records[0]["message"] == ""


def test_a_stop_while_the_source_gives_nothing_yet(database: Database, db: Connection) -> None:
    """The server sorts, or works long on a row: a task that is asked to stop ends soon, and the statement with it."""
    fill(db, 10)
    run = runner(database, 10, table="items", row_filter="pg_sleep(300)::text = ''")
    (batch,) = run.plan().batches
    begun = time.monotonic()
    with pytest.raises(IndexingStoppedError, match="Stopped after 0 rows"):
        run.index(batch, should_stop=lambda: True)
    assert time.monotonic() - begun < 60
    left = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%' AND state = 'active' AND datname = current_database()"
    assert db.execute(left).fetchone() == (0,)
