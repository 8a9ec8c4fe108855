"""A crash at any point costs only time: the process is killed, the target's or the source's connection is cut, the disk is
full. What was acknowledged is not done again, and the index ends equal to the table."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from multiprocessing.context import ForkServerProcess as Process
from pathlib import Path
from typing import Any

import psycopg
import pytest
from indexing_process import started

from airflow_reindex_provider.core.errors import ConfigurationError, IndexingStoppedError, TransientError
from airflow_reindex_provider.core.model import Batch, BatchResult, Counts, Format, Transform
from airflow_reindex_provider.core.running.indexing import WRITES_AT_ONCE
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.databases.postgres.settings import READER_TAG, WRITER_TAG
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.memory import MemoryResumeLog
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner

Connection = psycopg.Connection[Any]
ROWS = 30_000


@pytest.fixture
def db(database: Database) -> Iterator[Connection]:
    with database.connect() as connection:
        connection.execute(
            "CREATE TABLE items (id int PRIMARY KEY, body text, updated_at timestamptz NOT NULL DEFAULT now())"
        )
        connection.execute("CREATE INDEX ON items (updated_at, id)")
        connection.execute(
            "INSERT INTO items SELECT n, repeat(md5(n::text), 10), now() - interval '1 h' FROM generate_series(1, %s) n",
            [ROWS],
        )
        yield connection


def runner(database: Database, transform: Transform | None = None) -> Runner:
    return Runner(
        source=PostgresSource(
            database.conn_id, table="items", primary_key="id", cursor_field="updated_at", margin=timedelta(0)
        ),
        target=PostgresTarget(database.conn_id, index="items_index"),
        transform=transform,
        sizes=Sizes(batch_rows=ROWS, max_batches=1),
        chunk_rows=500,
    )


def equal(db: Connection) -> bool:
    row = db.execute(
        "SELECT (SELECT count(*) FROM items_index), (SELECT count(*) FROM (TABLE items EXCEPT TABLE items_index) AS d)"
    ).fetchone()
    return row == (ROWS, 0)


def written(db: Connection, generation: str) -> int:
    row = db.execute(f'SELECT count(*) FROM "{generation}"').fetchone()
    return row[0] if row else 0


@pytest.mark.parametrize("format", [Format.PG_COPY, Format.ROWS])
def test_killed_in_the_middle_and_resumed(database: Database, db: Connection, tmp_path: Path, format: Format) -> None:
    """The process is killed again and again, at whatever place it has got to; each new one goes on after the chunks that
    were noted, and the counts of all tries make the whole batch."""
    run = runner(database)
    plan = run.plan()
    (batch,) = plan.batches
    resume = tmp_path / "resume.json"
    job = {
        "batch": batch.to_json(),
        "source": {"conn_id": database.conn_id, "table": "items", "primary_key": "id", "cursor_field": "updated_at"},
        "target": {"conn_id": database.conn_id, "index": "items_index"},
        "stream": run.stream,
        "format": format,
        "chunk_rows": 500,
        "pause_s": 0.04,
        "resume": str(resume),
    }
    noted = []
    for killed_at in (1, 15_000):
        process, _ = started(job)
        # Seen from outside, so the kill falls anywhere in a chunk; only after the first note is there something to resume.
        wait_for(lambda at=killed_at: resume.exists() and written(db, plan.generation) >= at, process)
        process.kill()
        process.join()
        noted.append(json.loads(resume.read_text())["counts"])

    _, ends = started(job)
    result = BatchResult.from_json(ends.recv())
    run.settle(plan, [result])

    processed = [Counts.from_json(c).processed for c in noted] + [result.counts.processed]
    assert processed == sorted(processed)
    assert 0 < processed[0] < ROWS
    assert processed[-1] == ROWS
    assert not resume.exists()
    # Written twice, as updates: what the killed processes had written after their last note, never all of it.
    assert result.counts.updated < ROWS / 2
    assert equal(db)


def wait_for(happened: Callable[[], bool], process: Process | None = None) -> None:
    deadline = time.monotonic() + 300
    while not happened():
        if process is not None and process.exitcode is not None:
            pytest.fail(f"the process ended with {process.exitcode} before it could be killed")
        if time.monotonic() > deadline:
            pytest.fail("nothing happened within five minutes")
        time.sleep(0.005)


@pytest.mark.parametrize("tag", [WRITER_TAG, READER_TAG])
@pytest.mark.parametrize("format", [Format.PG_COPY, Format.ROWS])
def test_a_connection_is_cut(database: Database, db: Connection, tag: str, format: Format) -> None:
    """The target's or the source's server process is ended in the middle of a chunk: a transient error, the checkpoint
    where it was, nothing public; a retry goes on and ends with an index equal to the table."""
    run = runner(database, transform=(lambda d: d) if format is Format.ROWS else None)
    plan = run.plan()
    (batch,) = plan.batches
    resume = MemoryResumeLog()
    cut = threading.Event()

    def cut_when_half_done() -> None:
        with database.connect() as connection:
            wait_for(lambda: written(connection, plan.generation) >= 5000)
            # Between two of its transactions a session has no name.
            wait_for(
                lambda: (
                    connection.execute(
                        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND application_name LIKE %s",
                        [f"{tag}%"],
                    ).fetchone()
                    > (0,)
                )
            )
        cut.set()

    killer = threading.Thread(target=cut_when_half_done)
    killer.start()
    with pytest.raises(TransientError, match=database.conn_id):
        # Without a stop in between the batch could be over before it is cut.
        run.index(batch, resume=resume, should_stop=lambda: cut.wait(0.01) and False)
    killer.join()
    assert run.store.load(run.stream, plan.generation).position is None
    outcome = run.settle(plan, [])
    assert outcome.checkpoint_after is None
    assert db.execute("SELECT to_regclass('items_index')").fetchone() == (None,)

    result = run.index(batch, resume=resume)
    run.settle(plan, [result])

    assert result.counts.processed == ROWS
    # As many chunks as are written at once may have been committed, and nobody was told.
    assert result.counts.updated <= WRITES_AT_ONCE * 500
    assert equal(db)


def test_too_little_room_for_temporary_files(database: Database, db: Connection) -> None:
    """The target's role may put less into files than an index needs that is built after a first load: an error that names the
    limit, not to be tried again as it is, and with room it goes on. (What is written is sorted in memory.)"""
    target = PostgresTarget(database.conn_id, index="items_index", indexes=("(body)",))
    run = replace(runner(database), target=target)
    plan = run.plan()
    result = run.index(plan.batches[0])
    db.execute(f"ALTER DATABASE {database.name} SET temp_file_limit = '64kB'")
    db.execute(f"ALTER DATABASE {database.name} SET maintenance_work_mem = '1MB'")
    with pytest.raises(ConfigurationError, match=r"index .items_index. on .*temp_file_limit.*maintenance_work_mem"):
        run.settle(plan, [result])
    assert db.execute("SELECT to_regclass('items_index')").fetchone() == (None,)

    db.execute(f"ALTER DATABASE {database.name} RESET ALL")
    run.settle(plan, [result])
    assert equal(db)


def test_a_lock_that_does_not_come(database: Database, db: Connection) -> None:
    """The target's table is locked for longer than its sessions may wait: a transient error, then as before."""
    run = runner(database)
    plan = run.plan()
    db.execute(f"ALTER DATABASE {database.name} SET lock_timeout = '100ms'")
    with database.connect() as other, other.transaction():
        other.execute(f'LOCK TABLE "{plan.generation}"')
        with pytest.raises(TransientError, match="lock timeout"):
            run.index(plan.batches[0])
    run.settle(plan, [run.index(plan.batches[0])])
    assert equal(db)


def test_a_stop_between_chunks(database: Database, db: Connection) -> None:
    """A task that is asked to stop ends after a chunk and goes on there; only chunks on their way are written again."""
    run = runner(database)
    plan = run.plan()
    resume = MemoryResumeLog()
    counts = []
    for _ in range(3):
        with pytest.raises(IndexingStoppedError, match="goes on"):
            run.index(plan.batches[0], resume=resume, should_stop=lambda: True)
        noted = resume.load()
        assert noted is not None
        counts.append(sum(noted["counts"].values()))

    result = run.index(plan.batches[0], resume=resume)

    assert counts == [500, 1000, 1500]
    assert result.counts.processed == ROWS
    # The second and the third try write their chunk again, and the last one what the third had on its way beside it.
    assert result.counts.updated <= (2 + WRITES_AT_ONCE) * 500
    run.settle(plan, [result])
    assert equal(db)


def test_notes_for_another_plan_are_not_taken(database: Database, db: Connection) -> None:
    """A plan made anew puts other rows under the same task: what was noted for the old ones says nothing."""
    run = runner(database)
    plan = run.plan()
    resume = MemoryResumeLog()
    with pytest.raises(IndexingStoppedError):
        run.index(plan.batches[0], resume=resume, should_stop=lambda: True)
    db.execute("UPDATE items SET updated_at = now()")
    anew: Batch = run.plan().batches[0]

    assert run.index(anew, resume=resume).counts.processed == ROWS
