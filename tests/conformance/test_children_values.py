"""Documents of several tables: what is in their lists and objects, and what is too much or no JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import psycopg

from airflow_reindex_provider.core.model import Batch, Format, Position, Window
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from tests.conformance.shop import CHILDREN, documents, runner, said, shop_source


def test_a_list_past_its_limit_is_parked(shop: psycopg.Connection[Any], database: Database) -> None:
    """With the reason, and without the others; it comes with a later run, once it is short enough."""
    few = tuple(replace(child, max_rows=10) if child.name == "reviews" else child for child in CHILDREN)
    shop.execute("INSERT INTO reviews SELECT 100 + n, 3, 1, 'one of many' FROM generate_series(1, 10) n")
    run = runner(database, children=few)
    run.run()
    (parked,) = run.store.load(run.stream, run.plan().generation).parked
    assert parked.key == ("3",)
    assert "reviews has more than max_rows=10 rows" in parked.reason
    assert [d[0] for d in documents(shop)] == [1, 2, 4, 5, 6, 7, 8, 9, 10]
    shop.execute("DELETE FROM reviews WHERE id > 100")
    run.run()
    assert documents(shop) == said(shop)
    shop.execute("INSERT INTO comments SELECT 5, 100 + n, 'one of many' FROM generate_series(1, 10) n")
    run.run()
    assert ("5",) in [p.key for p in run.store.load(run.stream, run.plan().generation).parked]


def test_what_is_nested_past_the_limit_is_not_looked_at(shop: psycopg.Connection[Any], database: Database) -> None:
    """A list of lists ends where it is too long, and not when all of it has been held to be counted."""
    shop.execute(
        "INSERT INTO reviews SELECT 1000 + n, 6, 1, 'one of many' FROM generate_series(0, 99) n;"
        "INSERT INTO comments SELECT 1000 + n, 1, 'one of many' FROM generate_series(0, 99) n;"
        "CREATE FUNCTION guarded(review int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN"
        " IF review >= 1090 THEN RAISE EXCEPTION 'looked at'; END IF; RETURN true; END $$"
    )
    comments = replace(CHILDREN[1].children[0], row_filter="guarded(review_id)")
    run = runner(database, children=(replace(CHILDREN[1], max_rows=150, children=(comments,)),))
    run.run()
    (parked,) = run.store.load(run.stream, run.plan().generation).parked
    assert parked.key == ("6",)
    assert "reviews has more than max_rows=150 rows, with what is nested in them" in parked.reason
    shop.execute("DELETE FROM reviews WHERE id BETWEEN 1050 AND 1099")
    run.run()
    assert shop.execute("SELECT jsonb_array_length(reviews) > 50 FROM products_index WHERE id = 6").fetchone() == (
        True,
    )


def test_a_child_that_is_no_json(shop: psycopg.Connection[Any], database: Database) -> None:
    """Its document is parked and says which character it is; the others go on, and it comes once that is mended."""
    shop.execute('ALTER TABLE brands ADD extra json; UPDATE brands SET extra = \'{"a": "\\u0000"}\' WHERE id = 3')
    run = runner(database, children=(replace(CHILDREN[0], columns=("name", "extra")), *CHILDREN[1:]))
    run.run()
    parked = run.store.load(run.stream, run.plan().generation).parked
    assert {p.key for p in parked} == {("3",), ("7",)}
    assert r"has \u0000, which is no character here" in parked[0].reason
    shop.execute("UPDATE brands SET extra = '[1]' WHERE id = 3")
    run.run()
    assert shop.execute("SELECT brand->'extra' FROM products_index WHERE id = 7").fetchone() == ([1],)


NASTY = {
    "json": """'{"a": 1, "a": 2,\n "b": [1.50, "x\\ny"]}'""",
    "json[]": """ARRAY['{"a":\n1}', NULL]::json[]""",
    "jsonb": """'{"b": 1, "a": null}'""",
    "numeric": "'-1234567.1250'",
    "double precision": "'-0.0000001'",
    "real": "'NaN'",
    "bytea": "'\\x00ff'",
    "timestamptz": "'infinity'",
    "timestamp": "'2026-03-01 12:00:00.000001'",
    "interval": "'1 mon 2 days'",
    "text[]": """ARRAY['a"\n', NULL, '{']""",
    "int[]": "'{{1,2},{3,4}}'",
    "int4range": "'[1,3)'",
    "boolean": "true",
    "text": "E'\\\\u0000 \\x01 \\t\\r\\n\u2028 \U0001f600'",
    "varchar(3)": "''",
}


def test_values_of_objects(shop: psycopg.Connection[Any], database: Database) -> None:
    """Are what Postgres makes of them in a jsonb, in every format, whatever JSON they hold themselves."""
    names = [f"v{n}" for n in range(len(NASTY))]
    columns = ", ".join(f"ADD {name} {kind}" for name, kind in zip(names, NASTY, strict=True))
    shop.execute(f"ALTER TABLE brands {columns}".encode())
    values = ", ".join(f"{name} = {value}" for name, value in zip(names, NASTY.values(), strict=True))
    shop.execute(f"UPDATE brands SET {values} WHERE id = 3".encode())
    source = shop_source(database, children=(replace(CHILDREN[0], columns=("id", *names), children=()), *CHILDREN[1:]))
    with source.open() as session:
        plan = Window(None, Position("infinity"))
        batch = Batch("products", "g", 0, 1, plan, 10)
        (chunk,) = session.read(batch, format=Format.BULK, fields=["brand", "reviews"], chunk_rows=99)
    lines = b"".join(cast("Sequence[bytes]", chunk.payload)).decode().split("\n")
    bulk = {
        json.loads(head)["index"]["_id"]: json.loads(body) for head, body in zip(lines[::2], lines[1::2], strict=False)
    }
    (made,) = shop.execute(
        "SELECT to_jsonb(b) - 'updated_at' - 'country_id' - 'name' FROM brands b WHERE id = 3"
    ).fetchone() or ({},)
    made["v6"] = "AP8="
    made["v12"] = "[1,3)"
    reviews = {str(document[0]): document[3] for document in said(shop)}
    for transform in (None, lambda row: row):
        run = runner(database, transform)
        run.source, run.target = source, PostgresTarget(database.conn_id, index=f"by_{transform is None}".lower())
        run.run()
        query = f"SELECT id::text, brand, reviews FROM {run.target.index}"
        found = {key: {"brand": brand, "reviews": listed} for key, brand, listed in shop.execute(query.encode())}
        assert found["3"]["brand"] == bulk["3"]["brand"] == made
        assert found == bulk
        assert {key: document["reviews"] for key, document in found.items()} == reviews
