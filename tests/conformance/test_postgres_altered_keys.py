"""Keys whose column is altered between runs: a text that an index, or a parked document, has and that is no value of it now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Batch, Format
from airflow_reindex_provider.core.sweeping.records import Difference
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper

TABLE = "CREATE TABLE items (id {type}, part int DEFAULT 1, note text, at timestamptz DEFAULT now(), PRIMARY KEY (id, part))"
ALTERED = {
    "an enum's value is renamed": ("mood", ("low", "high"), "ALTER TYPE mood RENAME VALUE 'low' TO 'deep'"),
    "a text becomes a uuid": (
        "varchar(40)",
        ("x", "c4ca4238-a0b9-2382-0dcc-509a6f75849b"),
        "DELETE FROM items WHERE id = 'x'; ALTER TABLE items ALTER id TYPE uuid USING id::uuid",
    ),
    "another enum": (
        "mood",
        ("low", "high"),
        "CREATE TYPE mode AS ENUM ('high'); DELETE FROM items WHERE id = 'low';"
        "ALTER TABLE items ALTER id TYPE mode USING id::text::mode",
    ),
}


@pytest.fixture
def db(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with database.connect() as connection:
        connection.execute("CREATE TYPE mood AS ENUM ('low', 'high')")
        yield connection


def runner(database: Database) -> Runner:
    source = PostgresSource(
        database.conn_id, table="items", primary_key=("id", "part"), cursor_field="at", margin=timedelta(0)
    )
    return Runner(source=source, target=PostgresTarget(database.conn_id, index="items_index"))


def held(db: psycopg.Connection[Any], table: str) -> list[tuple[Any, ...]]:
    return db.execute(f"SELECT id::text, part FROM {table} ORDER BY 1, 2").fetchall()


@pytest.mark.parametrize("how", ALTERED)
def test_a_sweep_follows(database: Database, db: psycopg.Connection[Any], how: str) -> None:
    """No row has the old key: its document goes, the row's present key comes, and the next sweep finds nothing."""
    type, keys, ddl = ALTERED[how]
    db.execute(TABLE.format(type=type))
    db.execute(
        f"INSERT INTO items SELECT k::{type}, n FROM unnest(%s::text[]) k, generate_series(1, 3) n",
        [list(keys)],
    )
    run = runner(database)
    assert run.run().counts.created == 6
    db.execute(ddl)
    run.run()
    sweeper = Sweeper(run=run, max_delete_fraction=1.0)
    report, done = sweeper.sweep()
    assert report.counts[Difference.ORPHANED] == 3
    assert done.counts.deleted == 3
    assert held(db, "items_index") == held(db, "items")
    assert not any(sweeper.sweep()[0].counts.values())


@pytest.mark.parametrize("format", Format)
def test_a_parked_key_that_is_none_any_more_stops_nothing(
    database: Database, db: psycopg.Connection[Any], format: Format
) -> None:
    """It is as if the row had gone; those that are keys still are read, and where none is, no other row is."""
    db.execute(TABLE.format(type="mood"))
    db.execute("INSERT INTO items VALUES ('low', 1), ('high', 1), ('high', 2)")
    run = runner(database)
    (batch,) = run.plan().batches
    db.execute("ALTER TYPE mood RENAME VALUE 'low' TO 'deep'")

    def read(batch: Batch) -> int:
        with run.source.open() as source:
            chunks = list(source.read(batch, format=format, fields=("id", "part"), chunk_rows=1))
            assert chunks[-1].end == batch.window.end
            return len(chunks)

    assert read(replace(batch, keys=(("low", "1"), ("high", "2"), ("high", "1")))) == 2
    assert read(replace(batch, keys=(("low", "1"), ("gone", "7")))) == 1


def test_a_key_of_padded_elements_is_refused(database: Database, db: psycopg.Connection[Any]) -> None:
    """Each element has two texts, and a cast cuts it off."""
    db.execute(TABLE.format(type="char(3)[]"))
    with pytest.raises(ConfigurationError, match=r"'id', a character\(3\)\[\].*varchar\[\]"):
        runner(database).run()


def test_a_text_that_becomes_a_number_asks_for_a_rebuild(database: Database, db: psycopg.Connection[Any]) -> None:
    """Numbers have another order than their texts, and what is left of the others has none."""
    db.execute(TABLE.format(type="text"))
    db.execute("INSERT INTO items VALUES ('abc', 1), ('7', 1)")
    run = runner(database)
    run.run()
    db.execute("DELETE FROM items WHERE id = 'abc'; ALTER TABLE items ALTER id TYPE int USING id::int")
    for act in (run.run, Sweeper(run=run).sweep):
        with pytest.raises(
            ConfigurationError, match=r"'id' has the type text .* integer at the source.* Rebuild the index"
        ):
            act()
    Rebuilder(run=run, min_size_ratio=0.0).rebuild("20270101t000000")
    assert held(db, "items_index") == [("7", 1)]
