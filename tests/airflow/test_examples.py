"""The Dags in `dags/`, unedited."""

from __future__ import annotations

import sqlite3
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from streams_under_test import TIMEOUT_S, Run, until

from airflow_reindex_provider.embedders.wordllama import WordLlamaEmbedder
from airflow_reindex_provider.testing.airflow import Airflow
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.weaviate_server import WeaviateServer

pytestmark = pytest.mark.overlaps


def run_again(airflow: Airflow, dag_id: str, shop: Database) -> None:
    """One more run, of all that is committed by now: the examples keep the usual two seconds below the horizon.

    Paused after it: with the scheduled runs of all examples beside it, a slow machine's scheduler falls behind for good.
    """
    with shop.connect() as connection:
        (written,) = connection.execute("SELECT clock_timestamp()").fetchone()
        until(lambda: connection.execute("SELECT now() > %s + interval '2.1 s'", [written]).fetchone()[0], "the margin")
    airflow.wait_for_run(dag_id, airflow.trigger(dag_id), timeout_s=TIMEOUT_S)
    airflow.pause(dag_id)


def first_runs(airflow: Airflow, dag_id: str, run_type: str) -> list[Run]:
    """The runs that a schedule or an asset has started, once there is one."""
    found = until(
        lambda: airflow.rest.get(f"/dags/{dag_id}/dagRuns", run_type=run_type)["dag_runs"], f"a run of {dag_id}"
    )
    return [Run(airflow, dag_id, run["dag_run_id"]) for run in found]


def ended(airflow: Airflow, dag_id: str) -> list[Run]:
    found = airflow.rest.get(f"/dags/{dag_id}/dagRuns", limit=100)["dag_runs"]
    return [Run(airflow, dag_id, run["dag_run_id"]) for run in found if run["state"] == "success"]


def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        return connection.execute(query).fetchall()


def test_every_dag_file_parses(airflow: Airflow):
    """The examples and the Dags of the tests have no import errors."""
    for dag_id in ("reindex_products", "reindex_customers", "example_reindex_operators", "reindex_garbage"):
        airflow.wait_for_dag(dag_id)

    # But for the one that test_streams_file is about.
    errors = airflow.rest.get("/importErrors")["import_errors"]
    assert [error["filename"] for error in errors if "(stream misspelt)" not in error["filename"]] == []


def test_the_smallest_stream(airflow: Airflow, shop: Database, search: Database):
    """`reindex_products`: a first load, then an edit and a soft delete; the full text finds what there is."""
    with shop.connect() as connection:
        connection.execute(
            "CREATE TABLE products (id bigint PRIMARY KEY, title text, description text, deleted_at timestamptz,"
            " updated_at timestamptz NOT NULL DEFAULT now())"
        )
        connection.execute("CREATE INDEX ON products (updated_at, id)")
        connection.execute(
            "INSERT INTO products SELECT i, 'lamp ' || i, 'shines', NULL, now() - interval '1 day'"
            " FROM generate_series(1, 500) AS i"
        )
    run_again(airflow, "reindex_products", shop)
    assert rows(search, "SELECT count(*) FROM products_index") == [(500,)]

    with shop.connect() as connection:
        connection.execute("UPDATE products SET title = 'chair', updated_at = now() WHERE id = 7")
        connection.execute("UPDATE products SET deleted_at = now(), updated_at = now() WHERE id = 8")
    run_again(airflow, "reindex_products", shop)

    assert rows(search, "SELECT id FROM products_index WHERE search @@ to_tsquery('english', 'chairs')") == [(7,)]
    assert rows(search, "SELECT count(*) FROM products_index") == [(499,)]
    assert rows(search, "SELECT id FROM products_index WHERE id = 8") == []
    # The Dag's schedule may have brought some of it before.
    sums = [run.sums for run in ended(airflow, "reindex_products")]
    assert [sum(s[what] for s in sums) for what in ("created", "updated", "deleted")] == [500, 1, 1]


def test_transform_filter_and_the_dag_that_follows(airflow: Airflow, shop: Database, search: Database):
    """`reindex_customers`: rows that leave the filter, or of which the transform makes nothing, leave the index; the Dag
    that the asset triggers sees the counts of the run before it."""
    with shop.connect() as connection:
        connection.execute(
            "CREATE TABLE customers (id int PRIMARY KEY, name text, email text, consent boolean,"
            " updated_at timestamptz NOT NULL DEFAULT now())"
        )
        connection.execute("CREATE INDEX ON customers (updated_at, id)")
        connection.execute("INSERT INTO customers SELECT i, ' ada ', 'a@B.Org', i <= 4 FROM generate_series(1, 6) AS i")
    airflow.wait_for_dag("example_reindex_follow_up")
    airflow.pause("example_reindex_follow_up", False)
    run_again(airflow, "reindex_customers", shop)
    assert rows(search, "SELECT id, name, email_domain FROM customers_index ORDER BY id") == [
        (number, "Ada", "b.org") for number in (1, 2, 3, 4)
    ]

    with shop.connect() as connection:
        connection.execute("UPDATE customers SET consent = false, updated_at = now() WHERE id = 1")
        connection.execute("UPDATE customers SET name = '', updated_at = now() WHERE id = 2")
        connection.execute("INSERT INTO customers VALUES (7, 'bob', 'b@b.org', true)")
    run_again(airflow, "reindex_customers", shop)
    assert rows(search, "SELECT id FROM customers_index ORDER BY id") == [(3,), (4,), (7,)]

    def follow_ups() -> list[dict[str, Any]] | None:
        runs = ended(airflow, "example_reindex_follow_up")
        reports = [run.xcom("report") for run in runs]
        return reports if any(report["deleted"] for report in reports) else None

    reports = until(follow_ups, "the Dag that follows")
    assert {"created": 1, "updated": 0, "deleted": 2, "parked": 0} in reports


def test_a_deferrable_sensor_waits_for_changes(airflow: Airflow, shop: Database, search: Database):
    """`example_reindex_operators`: the scheduled run waits in the triggerer while the table is empty, and goes on once
    there is a row; its checkpoint is a row in the target's database."""
    with shop.connect() as connection:
        connection.execute(
            "CREATE TABLE order_lines (order_id int, line int, updated_at timestamptz NOT NULL DEFAULT now(),"
            " PRIMARY KEY (order_id, line))"
        )
        connection.execute("CREATE INDEX ON order_lines (updated_at, order_id, line)")
    airflow.wait_for_dag("example_reindex_operators")
    airflow.pause("example_reindex_operators", False)
    (run,) = first_runs(airflow, "example_reindex_operators", "scheduled")
    until(lambda: run.task("changes")["state"] == "deferred", "the sensor to be deferred")
    time.sleep(3)
    assert run.task("changes")["state"] == "deferred"

    with shop.connect() as connection:
        connection.execute("INSERT INTO order_lines VALUES (1, 1), (1, 2)")
    run.end()

    assert rows(search, "SELECT order_id, line FROM order_lines_index ORDER BY 1, 2") == [(1, 1), (1, 2)]
    assert run.sums["created"] == 2
    # Beside the checkpoint stands what is remembered of the stream.
    kept = "SELECT count(*) FROM reindex_checkpoint WHERE stream = 'orders' AND generation LIKE 'order_lines_index_%'"
    assert rows(search, kept) == [(1,)]


def test_any_sql_database(airflow: Airflow, shipments: Path, search: Database):
    """`reindex_shipments` and `sweep_shipments`: of a table of SQLite all is read that is older than the lag, and a row that is
    deleted outright goes with the sweep."""
    with sqlite3.connect(shipments) as connection:
        connection.execute("CREATE TABLE shipments (id INTEGER PRIMARY KEY, total DECIMAL(9,2), updated_at DATETIME)")
        connection.executemany(
            "INSERT INTO shipments VALUES (?, ?, datetime('now', ?))",
            [(n, n / 4, "-1 hour" if n <= 40 else "-1 minute") for n in range(1, 51)],
        )
    airflow.wait_for_run("reindex_shipments", airflow.trigger("reindex_shipments"), timeout_s=TIMEOUT_S)
    assert rows(search, "SELECT count(*), min(total), max(total) FROM shipments_index") == [
        (40, Decimal("0.25"), Decimal(10))
    ]

    with sqlite3.connect(shipments) as connection:
        connection.execute("DELETE FROM shipments WHERE id = 7")
    airflow.wait_for_run("sweep_shipments", airflow.trigger("sweep_shipments"), timeout_s=TIMEOUT_S)
    assert rows(search, "SELECT count(*), count(*) FILTER (WHERE id = 7) FROM shipments_index") == [(39, 0)]


def test_a_lance_database(airflow: Airflow, shop: Database, lake: Path):
    """`reindex_manuals`: tasks that Airflow has forked write into LanceDB, and the pointer leads to what they have written."""
    with shop.connect() as connection:
        connection.execute(
            "CREATE TABLE manuals (id bigint PRIMARY KEY, title text, body text, price numeric(10,2), deleted_at timestamptz,"
            " updated_at timestamptz NOT NULL DEFAULT now())"
        )
        connection.execute("CREATE INDEX ON manuals (updated_at, id)")
        connection.execute("INSERT INTO manuals SELECT n, 'Kettle', 'Boils', n, NULL FROM generate_series(1, 20) AS n")
    run_again(airflow, "reindex_manuals", shop)
    with shop.connect() as connection:
        connection.execute("UPDATE manuals SET body = 'Cooks', updated_at = now() WHERE id = 1")
        connection.execute("UPDATE manuals SET deleted_at = now(), updated_at = now() WHERE id = 2")
    run_again(airflow, "reindex_manuals", shop)

    import lancedb

    database = lancedb.connect(lake)
    (name,) = database.open_table("manuals").to_arrow()["table"].to_pylist()
    found = database.open_table(name).search().where("NOT _reindex_deleted").to_list()
    assert {row["id"]: (row["body"], row["price"]) for row in found} == {
        n: ("Cooks" if n == 1 else "Boils", Decimal(n)) for n in range(1, 21) if n != 2
    }


def test_a_weaviate_server(airflow: Airflow, shop: Database, weaviate: WeaviateServer):
    """`reindex_guides`: tasks that Airflow has forked write into Weaviate, and its alias leads to what they have written."""
    with shop.connect() as connection:
        connection.execute(
            "CREATE TABLE guides (id bigint PRIMARY KEY, title text, body text, price numeric(10,2), deleted_at timestamptz,"
            " updated_at timestamptz NOT NULL DEFAULT now())"
        )
        connection.execute("CREATE INDEX ON guides (updated_at, id)")
        connection.execute("INSERT INTO guides SELECT n, 'Kettle', 'Boils', n, NULL FROM generate_series(1, 20) AS n")
    run_again(airflow, "reindex_guides", shop)
    with shop.connect() as connection:
        connection.execute("UPDATE guides SET body = 'Cooks', updated_at = now() WHERE id = 1")
        connection.execute("UPDATE guides SET deleted_at = now(), updated_at = now() WHERE id = 2")
    run_again(airflow, "reindex_guides", shop)

    found = [o["properties"] for o in weaviate.call("GET", "/objects?class=Guides&limit=100")["objects"]]
    assert {p["id_"]: (p["body"], p["price"]) for p in found if not p["_reindex_deleted"]} == {
        n: ("Cooks" if n == 1 else "Boils", f"{n}.00") for n in range(1, 21) if n != 2
    }


def test_passages_and_vectors(airflow: Airflow, shop: Database, search: Database):
    """`example_reindex_vectors`: texts are embedded once each, a question finds what has none of its words, and an edit of a
    price costs nothing, one of a sentence that sentence."""
    with search.connect() as index:
        index.execute("CREATE EXTENSION IF NOT EXISTS vector")
    with shop.connect() as connection:
        connection.execute(
            "CREATE TABLE articles (id int PRIMARY KEY, title text, body text, price int,"
            " updated_at timestamptz NOT NULL DEFAULT now())"
        )
        connection.execute("CREATE INDEX ON articles (updated_at, id)")
        connection.execute(
            "INSERT INTO articles VALUES (1, 'Wool hat', 'Keeps your head warm in winter.', 10),"
            " (2, 'Sandals', 'For the beach and hot days.', 20), (3, 'Kettle', 'Boils water for tea in a minute.', 30)"
        )
    run_again(airflow, "reindex_articles", shop)
    nearest = "SELECT id FROM articles_index_passages ORDER BY embedding <=> %s::vector LIMIT 1"
    with search.connect() as index, WordLlamaEmbedder().open() as model:
        for question, found in (("something to wear against the cold", 1), ("boiling something to drink", 3)):
            assert index.execute(nearest, [str(list(model.embed_query(question)))]).fetchone() == (found,)

    with shop.connect() as connection:
        connection.execute("UPDATE articles SET price = 11, updated_at = now() WHERE id = 1")
        connection.execute("UPDATE articles SET body = 'For the beach and the pool.', updated_at = now() WHERE id = 2")
    run_again(airflow, "reindex_articles", shop)

    sums = [run.sums for run in ended(airflow, "reindex_articles")]
    # Once for each text: three titles and four bodies.
    assert sum(s.get("embedded", 0) for s in sums) == 7
    assert sum(s["reused"] for s in sums) == 3
    assert rows(search, "SELECT id, text FROM articles_index_passages WHERE id = 2 ORDER BY place") == [
        (2, "Sandals"),
        (2, "For the beach and the pool."),
    ]


def test_documents_of_several_tables(airflow: Airflow, shop: Database, search: Database):
    """`reindex_albums`: the tombstones of all tables by one command; then a track, an artist, and a track that goes."""
    with shop.connect() as connection:
        stamped = "updated_at timestamptz NOT NULL DEFAULT now()"
        connection.execute(
            f"CREATE TABLE artists (id bigint PRIMARY KEY, name text, country text, {stamped});"
            f"CREATE TABLE albums (id bigint PRIMARY KEY, artist_id bigint REFERENCES artists, title text, {stamped});"
            f"CREATE TABLE tracks (id bigint PRIMARY KEY, album_id bigint, place int, title text, seconds int, {stamped});"
            "CREATE INDEX ON artists (updated_at, id); CREATE INDEX ON albums (updated_at, id);"
            "CREATE INDEX ON albums (artist_id); CREATE INDEX ON tracks (updated_at, album_id);"
            "CREATE INDEX ON tracks (album_id);"
            "INSERT INTO artists SELECT n, 'the ' || n, 'Peru' FROM generate_series(1, 3) n;"
            "INSERT INTO albums SELECT n, 1 + n % 3, 'album ' || n FROM generate_series(1, 30) n;"
            "INSERT INTO tracks SELECT n, 1 + n % 30, n, 'track ' || n, 200 FROM generate_series(1, 90) n"
        )
    airflow.wait_for_dag("reindex_albums")
    airflow.wait_for_run(
        "reindex_albums",
        airflow.trigger("reindex_albums", conf={"action": "tombstones-install"}),
        timeout_s=TIMEOUT_S,
    )
    run_again(airflow, "reindex_albums", shop)
    one = "SELECT artist, tracks FROM albums_index WHERE id = 3"
    tracks = [{"id": n, "title": f"track {n}", "seconds": 200} for n in (2, 32, 62)]
    assert rows(search, one) == [({"name": "the 1", "country": "Peru"}, tracks)]
    with shop.connect() as connection:
        connection.execute(
            "UPDATE artists SET name = 'others', updated_at = now() WHERE id = 1; DELETE FROM tracks WHERE id = 32;"
            "UPDATE tracks SET seconds = 100, updated_at = now() WHERE id = 2"
        )
    run_again(airflow, "reindex_albums", shop)
    tracks = [{"id": 2, "title": "track 2", "seconds": 100}, tracks[2]]
    assert rows(search, one) == [({"name": "others", "country": "Peru"}, tracks)]
