"""A parent's constraints, indexes and triggers say nothing of the rows of its INHERITS children: the same care as with a view."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner

ITEMS = """
CREATE TABLE items (id int PRIMARY KEY, note text, updated_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON items (updated_at, id);
CREATE TABLE items_2026 () INHERITS (items);
CREATE INDEX ON items_2026 (updated_at, id);
CREATE TABLE "items 2027" () INHERITS (items_2026);
CREATE INDEX ON "items 2027" (updated_at, id);
INSERT INTO items VALUES (1, 'parent');
INSERT INTO items_2026 VALUES (2, 'child');
INSERT INTO "items 2027" VALUES (3, 'grandchild');
"""
HISTORY = (
    "CREATE TABLE history (id int, updated_at timestamptz NOT NULL DEFAULT now()); INSERT INTO history VALUES (1), (2)"
)


@pytest.fixture
def db(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with database.connect() as connection:
        connection.execute(ITEMS)
        yield connection


def runner(database: Database, **options: Any) -> Runner:
    given = {"primary_key": "id", "cursor_field": "updated_at", "margin": timedelta(0), **options}
    if "query" not in given:
        given.setdefault("table", "public.items")
    return Runner(
        source=PostgresSource(database.conn_id, **given), target=PostgresTarget(database.conn_id, index="items_index")
    )


def refused(run: Runner, *said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        run.run()
    for text in said:
        assert text in str(caught.value), str(caught.value)


def test_children_are_read_with_their_parent(database: Database, db: psycopg.Connection[Any]) -> None:
    """Of any depth, through the indexes that each of them has."""
    run = runner(database)
    outcome = run.run()
    assert outcome.counts.created == 3
    assert outcome.plan.warnings == ()


@pytest.mark.parametrize("child", ["items_2026", '"items 2027"'])
@pytest.mark.parametrize("loaded", [False, True], ids=["in the first load", "in a later window"])
def test_a_key_of_two_relations_is_refused(
    database: Database, db: psycopg.Connection[Any], child: str, loaded: bool
) -> None:
    """Also where the other row was read long before; the message names the key and the child, and blames no target."""
    run = runner(database)
    if loaded:
        run.run()
    db.execute(f"INSERT INTO {child} VALUES (1, 'again')")
    refused(run, "public.items", "key 1 stands for 2 rows", "items_2026", "belong to it")
    if loaded:
        assert db.execute("SELECT note FROM items_index WHERE id = 1").fetchone() == ("parent",)
    db.execute(f"DELETE FROM ONLY {child} WHERE id = 1")
    run.run()
    assert db.execute("SELECT count(*) FROM items_index").fetchone() == (3,)


@pytest.mark.parametrize("query", [None, "SELECT * FROM history"], ids=["view", "query"])
def test_a_view_whose_key_repeats_in_another_window(
    database: Database, db: psycopg.Connection[Any], query: str | None
) -> None:
    """A view's key may come back later, which is no change of the row that is there."""
    db.execute(HISTORY + "; CREATE VIEW seen AS SELECT * FROM history")
    run = runner(database, query=query) if query else runner(database, table="public.seen")
    run.run()
    db.execute("INSERT INTO history VALUES (3), (1)")
    refused(run, "key 1 stands for 2 rows", "would be one document")


@pytest.mark.parametrize(
    "column", ["id", "updated_at"], ids=["a key without a value", "a cursor without a value is left out"]
)
def test_a_child_may_do_without_not_null(database: Database, db: psycopg.Connection[Any], column: str) -> None:
    """What the parent promises of a column, a child need not."""
    run = runner(database)
    run.run()
    if db.info.server_version >= 180000:
        # Constraints are inherited there, but such a child may be older than they are.
        db.execute(
            "ALTER TABLE items_2026 NO INHERIT items; CREATE TABLE odd (id int, note text, updated_at timestamptz)"
        )
        table = "odd"
    else:
        db.execute(f"ALTER TABLE items_2026 ALTER {column} DROP NOT NULL")
        table = "items_2026"
    values = "NULL, 'no key', now()" if column == "id" else "9, 'no time', NULL"
    db.execute(f"INSERT INTO {table} VALUES ({values})")
    if table == "odd":
        db.execute(
            "CREATE TABLE base (id int, note text, updated_at timestamptz DEFAULT now()); ALTER TABLE odd INHERIT base"
        )
        run = runner(database, table="public.base")
    if column == "id":
        refused(run, "primary_key column 'id' is NULL in a row", "leave such rows out")
    else:
        assert run.run().plan.null_cursors == 1


def test_an_index_of_the_parent_serves_the_parent(database: Database, db: psycopg.Connection[Any]) -> None:
    """The warning gives the statement for each child that lacks one, and these end it."""
    db.execute('DROP INDEX items_2026_updated_at_id_idx, "items 2027_updated_at_id_idx"')
    (warning,) = runner(database).plan().warnings
    statements = re.findall(r"CREATE INDEX [^;]*;", warning)
    assert len(statements) == 2
    for statement in statements:
        db.execute(statement)
    assert runner(database).plan().warnings == ()


def test_an_index_of_a_partitioned_table_can_be_made_as_said(database: Database, db: psycopg.Connection[Any]) -> None:
    """Postgres makes none concurrently there."""
    db.execute(
        "CREATE TABLE parts (id int PRIMARY KEY, updated_at timestamptz DEFAULT now()) PARTITION BY HASH (id);"
        "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES WITH (MODULUS 1, REMAINDER 0)"
    )
    run = runner(database, table="public.parts")
    (warning,) = run.plan().warnings
    (statement,) = re.findall(r"CREATE INDEX [^;]*;", warning)
    db.execute(statement)
    assert run.plan().warnings == ()


def test_tombstones_are_refused(database: Database, db: psycopg.Connection[Any]) -> None:
    """No trigger of the parent fires for a child's rows."""
    source = PostgresSource(
        database.conn_id, table="public.items", primary_key="id", cursor_field="updated_at", tombstones=True
    )
    with pytest.raises(
        ConfigurationError,
        match=r"no trigger of it fires for the rows of public\.items 2027, public\.items_2026, which",
    ):
        source.install_tombstones()


def test_a_constraint_that_is_not_validated_promises_nothing(database: Database, db: psycopg.Connection[Any]) -> None:
    """Rows from before it may lack a value, so they are counted."""
    if db.info.server_version < 180000:
        pytest.skip("NOT NULL is always validated before PostgreSQL 18")
    db.execute(
        "CREATE TABLE late (id int PRIMARY KEY, updated_at timestamptz DEFAULT now());"
        "INSERT INTO late VALUES (1, NULL), (2, now());"
        "ALTER TABLE late ADD CONSTRAINT given NOT NULL updated_at NOT VALID"
    )
    assert runner(database, table="public.late").plan().null_cursors == 1
