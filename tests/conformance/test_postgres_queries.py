"""Queries as people write them: they work, or the message says what to change, before anything is made."""

from __future__ import annotations

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


@pytest.fixture
def db(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with database.connect() as connection:
        connection.execute("CREATE TABLE items (id int PRIMARY KEY, note text, updated_at timestamptz DEFAULT now())")
        connection.execute("CREATE SEQUENCE s; INSERT INTO items VALUES (1, 'a%s'), (2, 'b;')")
        yield connection


def runner(database: Database, query: str, **options: Any) -> Runner:
    given = {"primary_key": "id", "cursor_field": "updated_at", "margin": timedelta(0), **options}
    return Runner(
        source=PostgresSource(database.conn_id, query=query, **given),
        target=PostgresTarget(database.conn_id, index="items_index"),
    )


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM items;",
        "SELECT * FROM items ; \n\t",
        "SELECT * FROM items;;",
        "SELECT * FROM items -- all; of them;",
        "SELECT * FROM items /* all of them */",
        "\n  WITH x AS (SELECT * FROM items)\n  SELECT * FROM x;\n",
        "TABLE items",
        "(SELECT * FROM items)",
        "SELECT * FROM items ORDER BY id DESC",
        "SELECT * FROM items WHERE note LIKE '%s' OR note LIKE '%' OR note = '%(x)s'",
        "SELECT * FROM items WHERE note <> ';' OR note = ';'",
        "SELECT id, updated_at, 'x' AS kind, NULL AS nothing, 1 + 1 FROM items",
        "SELECT id, updated_at, items AS whole, row(1, 2) AS pair FROM items",
        'SELECT id, updated_at, note AS "a ""%s"" {x}" FROM items',
        "SELECT id::bigint, updated_at, note::varchar(9) FROM items",
    ],
)
def test_queries_that_work(database: Database, db: psycopg.Connection[Any], query: str) -> None:
    """Whatever stands at their end, in them, or in the names of their columns."""
    assert runner(database, query).run().counts.created == 2
    assert db.execute("SELECT count(*) FROM items_index").fetchone() == (2,)


REFUSED = {
    "a comment after a semicolon": ("SELECT * FROM items; -- all", "query=...", "no semicolon"),
    "two statements": ("SELECT * FROM items; SELECT 1", "query=...", "no semicolon"),
    "a parameter": ("SELECT * FROM items WHERE updated_at > :last_run", "no parameters", "window"),
    "a numbered one": ("SELECT * FROM items WHERE updated_at > $1", "parameter $1", "query"),
    "a template": ("SELECT * FROM {{ params.table }}", "{{ params.table }}", "is no template"),
    "half a query": ("SELECT * FROM items WHERE", "syntax error", "query=..."),
    "a template in a text": ("SELECT * FROM items WHERE updated_at < '{{ ds }}'", "{{ ds }}", "its own window"),
    "not a query": ("UPDATE items SET note = ''", "syntax error", "query=..."),
    "nothing": (" ;", "query is empty", "one SELECT"),
    "locks": ("SELECT * FROM items FOR UPDATE", "FOR UPDATE", "locks nothing"),
    "a sequence": ("SELECT nextval('s') AS id, updated_at FROM items", "nextval", "take what writes"),
    "deletes": ("WITH x AS (DELETE FROM items RETURNING *) SELECT * FROM x", "data-modifying", "one SELECT that reads"),
    "the key twice": ("SELECT * FROM items a JOIN items b USING (note)", "more than one column 'id'", "primary_key"),
    "the cursor twice": (
        "SELECT a.id, a.updated_at, b.updated_at FROM items a JOIN items b USING (id)",
        "more than one column 'updated_at'",
        "with AS",
    ),
    "another twice": ("SELECT id, updated_at, note, note FROM items", "more than one column 'note'", "columns=..."),
    "two without a name": ("SELECT id, updated_at, 1 + 1, 2 + 2 FROM items", "'?column?'", "with AS"),
    "no names at all": ("VALUES (1, now())", "primary_key names 'id'", "column1, column2"),
    "a key that repeats": (
        "SELECT id, updated_at, unnest(array[1, 2]) FROM items",
        "stands for 2 rows",
        "give one row a key",
    ),
    "a key without a value": (
        "SELECT nullif(id, 2) AS id, updated_at FROM items",
        "'id' is NULL",
        "leave such rows out",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_queries_that_are_refused(database: Database, db: psycopg.Connection[Any], kind: str) -> None:
    """With the thing and the remedy, and before a table is made."""
    query, *said = REFUSED[kind]
    with pytest.raises(ConfigurationError) as caught:
        runner(database, query).run()
    for text in (*said, database.conn_id):
        assert text in str(caught.value), str(caught.value)
    assert db.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'items_index%'").fetchone() == (0,)


def test_a_column_that_comes_twice_may_be_left_out(database: Database, db: psycopg.Connection[Any]) -> None:
    """What the index does not have needs no name of its own."""
    run = runner(database, "SELECT note, note, updated_at, id FROM items", columns=("updated_at",))
    assert run.run().counts.created == 2
