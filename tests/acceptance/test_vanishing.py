"""What vanishes or changes between plan and index is an error that names it, and moves no checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.running.settling import require_complete
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.runs import Runner

Connection = psycopg.Connection[Any]


@pytest.fixture
def db(database: Database) -> Iterator[Connection]:
    with database.connect() as connection:
        connection.execute(
            "CREATE TABLE items (id int PRIMARY KEY, body text, price int, updated_at timestamptz NOT NULL DEFAULT now())"
        )
        connection.execute("INSERT INTO items (id, body) SELECT n, 'x' FROM generate_series(1, 10) n")
        yield connection


@pytest.fixture(params=["pg_copy", "rows"])
def run(database: Database, db: Connection, request: pytest.FixtureRequest) -> Runner:
    run = Runner(
        source=PostgresSource(
            database.conn_id, table="items", primary_key="id", cursor_field="updated_at", margin=timedelta(0)
        ),
        target=PostgresTarget(database.conn_id, index="items_index"),
        transform=(lambda d: d) if request.param == "rows" else None,
    )
    run.run()
    db.execute("UPDATE items SET body = 'y', updated_at = now()")
    return run


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DROP TABLE items", ["items", "no such table"]),
        ("ALTER TABLE items RENAME TO articles", ["items", "no such table"]),
        ("ALTER TABLE items RENAME body TO content", ["body", "no longer has"]),
        ("ALTER TABLE items DROP price", ["price", "no longer has"]),
        ("ALTER TABLE items RENAME id TO item_id", ["primary_key", "'id'", "item_id"]),
        ("ALTER TABLE items RENAME updated_at TO changed_at", ["cursor_field", "'updated_at'", "changed_at"]),
        ("ALTER TABLE items ALTER price TYPE text", ["price", "integer", "text"]),
        ("ALTER TABLE items DROP CONSTRAINT items_pkey", ["unique", "id"]),
        ("DROP TABLE {generation} CASCADE", ["{generation}", "gone"]),
    ],
)
def test_a_change_between_plan_and_index(run: Runner, db: Connection, change: str, said: list[str]) -> None:
    """The batch fails with a message that names what changed; the checkpoint stays where it was."""
    plan = run.plan()
    (batch,) = plan.batches
    db.execute(change.format(generation=f'"{plan.generation}"'))

    with pytest.raises(ConfigurationError) as caught:
        run.index(batch)

    for text in said:
        assert text.format(generation=plan.generation) in str(caught.value)
    assert run.store.load(run.stream, plan.generation).position == plan.checkpoint


@pytest.mark.parametrize("run", ["pg_copy"], indirect=True)
def test_a_failed_batch_leaves_the_checkpoint(run: Runner, db: Connection) -> None:
    """Closing a run none of whose batches succeeded fails and moves nothing; mended, the rows come."""
    plan = run.plan()
    db.execute("ALTER TABLE items RENAME body TO content")
    with pytest.raises(ConfigurationError):
        run.index(plan.batches[0])
    outcome = run.settle(plan, [])
    assert outcome.checkpoint_after == plan.checkpoint
    with pytest.raises(ConfigurationError, match="1 of 1 batches failed"):
        require_complete(outcome)

    db.execute("ALTER TABLE items RENAME content TO body")
    run.run()

    assert db.execute("SELECT DISTINCT body FROM items_index").fetchall() == [("y",)]


def test_a_new_column_waits_for_a_rebuild(run: Runner, db: Connection) -> None:
    """A column added at the source does not stop the stream."""
    db.execute("ALTER TABLE items ADD colour text")

    assert run.run().counts.updated == 10


def test_a_declared_column_that_nothing_fills(database: Database, db: Connection) -> None:
    """Without a transform, a column of columns= that the source has lost would go stale in silence; it is an error."""
    run = Runner(
        source=PostgresSource(
            database.conn_id, table="items", primary_key="id", cursor_field="updated_at", margin=timedelta(0)
        ),
        target=PostgresTarget(database.conn_id, index="items_index", columns={"price": "numeric"}),
    )
    run.run()
    db.execute("ALTER TABLE items RENAME price TO amount")
    db.execute("UPDATE items SET body = 'y', updated_at = now()")
    (batch,) = run.plan().batches
    with pytest.raises(ConfigurationError, match=r"'price' is declared in columns=.*transform"):
        run.index(batch)


def test_another_key_waits_for_a_rebuild(run: Runner, db: Connection) -> None:
    """Documents are found by their key: an index keyed otherwise takes nothing, until a rebuild with the new key."""
    db.execute("ALTER TABLE items ADD sku text; UPDATE items SET sku = 's' || id, updated_at = now()")
    db.execute("ALTER TABLE items ALTER sku SET NOT NULL; CREATE UNIQUE INDEX ON items (sku)")
    Rebuilder(run=run).rebuild("20990101t000001")
    run.source = replace(run.source, primary_key="sku")
    with pytest.raises(ConfigurationError, match=r"another primary key than \(sku\). Rebuild"):
        run.run()

    Rebuilder(run=run).rebuild("20990101t000002")

    db.execute("UPDATE items SET body = 'z', updated_at = now() WHERE sku = 's3'")
    assert run.run().counts.updated == 1
    assert db.execute("SELECT sku FROM items_index WHERE body = 'z'").fetchall() == [("s3",)]
