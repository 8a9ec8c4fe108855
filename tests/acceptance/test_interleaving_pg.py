"""Orders of events that lose or revert rows elsewhere, one by one, on a real Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.core.model import Chunk, Document, Format, Mode, Transform
from airflow_reindex_provider.core.windows import Request, Sizes
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner

Connection = psycopg.Connection[Any]


@pytest.fixture
def db(database: Database) -> Connection:
    connection = database.connect()
    connection.execute(
        "CREATE TABLE items (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, gone boolean NOT NULL DEFAULT false,"
        " updated_at timestamptz NOT NULL DEFAULT now())"
    )
    connection.execute("CREATE INDEX ON items (updated_at, id)")
    return connection


@pytest.fixture(params=["pg_copy", "rows"])
def run(database: Database, db: Connection, request: pytest.FixtureRequest) -> Runner:
    transform: Transform | None = (lambda d: d) if request.param == "rows" else None
    return Runner(
        source=PostgresSource(
            database.conn_id,
            table="items",
            primary_key="id",
            cursor_field="updated_at",
            soft_delete_column="gone",
            margin=timedelta(0),
        ),
        target=PostgresTarget(database.conn_id, index="items_index"),
        transform=transform,
        sizes=Sizes(batch_rows=10, max_batches=64),
        chunk_rows=3,
    )


@pytest.fixture
def other(database: Database) -> Iterator[Connection]:
    with database.connect() as connection:
        yield connection


def indexed(db: Connection) -> dict[int, int]:
    return dict(db.execute("SELECT id, n FROM items_index").fetchall())


def table(db: Connection) -> dict[int, int]:
    return dict(db.execute("SELECT id, n FROM items WHERE NOT gone").fetchall())


def test_stamps_and_commits_in_opposite_order(run: Runner, db: Connection, other: Connection) -> None:
    """The older transaction commits last: its rows come late, and none is passed by."""
    other.execute("BEGIN")
    other.execute("INSERT INTO items (id) VALUES (1)")
    db.execute("INSERT INTO items (id) VALUES (2)")
    assert run.run().counts.processed == 0
    other.execute("COMMIT")

    run.run()

    assert indexed(db) == table(db) == {1: 0, 2: 0}


def test_an_older_stamp_that_commits_last_wins(run: Runner, db: Connection, other: Connection) -> None:
    """Two transactions change one row, and the one with the older stamp last: the index gets the state that the table
    ends in, though its stamp went backwards."""
    db.execute("INSERT INTO items (id) VALUES (1)")
    run.run()
    other.execute("BEGIN")
    other.execute("SELECT now()")
    db.execute("UPDATE items SET n = 1, updated_at = now()")
    run.run()
    other.execute("UPDATE items SET n = 2, updated_at = now()")
    other.execute("COMMIT")

    run.run()

    assert indexed(db) == table(db) == {1: 2}


def test_overlapping_runs_commute(run: Runner, db: Connection) -> None:
    """Two runs planned from one checkpoint, executed in any order and closed both, with changes between."""
    db.execute("INSERT INTO items (id) SELECT generate_series(1, 25)")
    first = run.plan()
    db.execute("UPDATE items SET n = 1, gone = id = 3, updated_at = now() WHERE id % 3 = 0")
    second = run.plan()
    assert [b.number for b in first.batches] == [0, 1, 2]

    late = [run.index(b) for b in second.batches]
    early = [run.index(b) for b in reversed(first.batches)]
    ended = run.settle(second, late).checkpoint_after
    assert run.settle(first, early).checkpoint_after == ended
    assert indexed(db) == table(db)
    assert run.run().counts.processed == 0


def test_a_backfill_commutes_with_live_runs(run: Runner, db: Connection) -> None:
    """Rows change while a backfill reads their old state and live runs bring the new one: the new one stays, and the
    checkpoint is the live runs' alone."""
    db.execute("INSERT INTO items (id) SELECT generate_series(1, 25)")
    run.run()
    backfill = run.plan(Request(Mode.BACKFILL, "2020-01-01"))
    done = [run.index(backfill.batches[0])]
    db.execute("UPDATE items SET n = 1, gone = id % 5 = 0, updated_at = now()")
    live = run.run()
    done += [run.index(b) for b in backfill.batches[1:]]
    outcome = run.settle(backfill, done)

    assert outcome.checkpoint_after == outcome.checkpoint_before == live.checkpoint_after
    assert indexed(db) == table(db)
    assert sum(live.counts.to_json().values()) == 25


def test_a_zombie_changes_nothing(run: Runner, db: Connection) -> None:
    """A task that read its batch long ago wakes up and writes it, after the rows were changed and deleted and indexed
    anew: everything it brings is refused."""
    db.execute("INSERT INTO items (id) SELECT generate_series(1, 9)")
    plan = run.plan()
    (batch,) = plan.batches
    with run.sessions() as (source, target):
        schema = source.schema()
        fields = target.fields(batch.generation, schema)
        chunks = [_kept(c) for c in source.read(batch, format=run.format, fields=fields, chunk_rows=100)]
        run.settle(plan, [run.index(batch)])
        db.execute("UPDATE items SET n = 1, gone = id = 5, updated_at = now()")
        run.run()
        with target.writer(batch.generation, schema, run.format) as writer:
            counts = [writer.write(chunk).counts for chunk in chunks]

    assert sum(c.version_conflicts for c in counts) == 9
    assert indexed(db) == table(db) == {n: 1 for n in range(1, 10) if n != 5}


def _kept(chunk: Chunk) -> Chunk:
    payload: Any = list(chunk.payload)
    return replace(chunk, payload=payload)


def test_a_stale_write_is_refused(run: Runner, db: Connection) -> None:
    """One document, by hand, one microsecond too old."""
    db.execute("INSERT INTO items (id) VALUES (1)")
    plan = run.run().plan
    row = db.execute(f'SELECT _reindex_version FROM "{plan.generation}"').fetchone()
    assert row is not None
    with run.sessions() as (source, target):
        schema = source.schema()
        with target.writer(plan.generation, schema, Format.ROWS) as writer:
            fields = {"id": 1, "n": 666, "gone": False, "updated_at": None}
            end = plan.window.end if plan.window else None
            assert end is not None
            result = writer.write(Chunk(end, Format.ROWS, [Document(("1",), row[0] - 1, fields)]))

    assert result.counts.version_conflicts == 1
    assert indexed(db) == {1: 0}


def test_a_row_that_leaves_the_filter_leaves_the_index(run: Runner, db: Connection) -> None:
    """A filter is membership: what stops matching is deleted, what matches again comes back."""
    filtered = replace(run, source=replace(run.source, row_filter="n < 5"))  # type: ignore[type-var]
    db.execute("INSERT INTO items (id) SELECT generate_series(1, 4)")
    filtered.run()
    db.execute("UPDATE items SET n = 7, updated_at = now() WHERE id = 2")
    assert filtered.run().counts.deleted == 1
    assert sorted(indexed(db)) == [1, 3, 4]
    db.execute("UPDATE items SET n = 1, updated_at = now() WHERE id = 2")
    filtered.run()
    assert indexed(db) == table(db)


def test_the_checkpoint_stops_before_the_first_failed_batch(run: Runner, db: Connection) -> None:
    """Batches beyond a failed one keep their work; the next run goes on before it and makes the index whole."""
    db.execute("INSERT INTO items (id) SELECT generate_series(1, 35)")
    plan = run.plan()
    outcome = run.settle(plan, [run.index(b) for b in plan.batches if b.number != 1])

    assert outcome.checkpoint_after == plan.batches[0].window.end
    again = run.run()
    assert again.plan.checkpoint == plan.batches[0].window.end
    assert indexed(db) == table(db)
    assert run.run().counts.processed == 0
