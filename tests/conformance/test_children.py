"""Documents of several tables: whatever changes, leaves or moves in one of them, the index says what one statement says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.core.model import Mode, Transform
from airflow_reindex_provider.core.windows import Request, Sizes
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.sources.sql.children import Child, Parent
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.groups import GroupRunner
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper
from tests.conformance.shop import CHANGES, CHILDREN, documents, runner, said, shop_source

FORMATS = [pytest.param(None, id="pg_copy"), pytest.param(lambda row: row, id="rows")]


@pytest.mark.parametrize("transform", FORMATS)
def test_a_first_load(shop: psycopg.Connection[Any], database: Database, transform: Transform | None) -> None:
    """The documents are those that one statement makes, in every format."""
    run = runner(database, transform)
    outcome = run.run()
    assert outcome.plan.tables == {"public.products": 10}
    assert documents(shop) == said(shop)
    assert outcome.counts.processed == outcome.counts.created == 10


def test_every_change_is_brought(shop: psycopg.Connection[Any], database: Database) -> None:
    """Of the row, of what it has, of what it refers to, and of what left it: by the run after it, which reads little else."""
    run = runner(database)
    run.run()
    for name, change in CHANGES.items():
        before = documents(shop)
        shop.execute(change)
        outcome = run.run()
        after = documents(shop)
        assert after == said(shop), name
        assert (before != after) is ("back and forth" not in name), name
        changed = {d[0] for d in before if d not in after} | {d[0] for d in after if d not in before}
        assert len(changed) <= outcome.counts.processed <= len(changed) + 2, name
    assert run.run().counts.processed == 0


def test_no_other_document_is_made(shop: psycopg.Connection[Any], database: Database) -> None:
    """Than those that a window touches, however many parts they have: more than the planner puts into an order of its own."""
    guard = (
        "CREATE OR REPLACE FUNCTION guarded(product bigint) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN"
        " IF NOT ({allowed}) THEN RAISE EXCEPTION 'document % is made', product; END IF; RETURN true; END $$"
    )
    shop.execute(guard.format(allowed="true").encode())
    brands = tuple(replace(CHILDREN[0], name=f"brand_{n}") for n in range(5))
    run = runner(database, children=(*brands, replace(CHILDREN[1], row_filter="guarded(product_id)")))
    run.sizes = Sizes()
    run.run()
    shop.execute(guard.format(allowed="product IN (3, 4)").encode())
    shop.execute("UPDATE reviews SET body = 'new' WHERE id = 3; UPDATE comments SET body = 'new' WHERE review_id = 4")
    assert run.run().counts.processed == 2
    shop.execute("UPDATE reviews SET body = 'newer' WHERE product_id IN (3, 4)")
    run.sizes = Sizes(batch_rows=1)
    outcome = run.run()
    assert (len(outcome.plan.batches), outcome.counts.updated) == (2, 2)
    with run.source.open() as source:
        assert len(source.look_up([("3",), ("4",), ("11",)], below="infinity")) == 2


def test_a_row_without_a_cursor_value(shop: psycopg.Connection[Any], database: Database) -> None:
    """Is no document, whatever its children say: no run reads it, a plan counts it, and no sweep misses it."""
    shop.execute("ALTER TABLE products ALTER updated_at DROP NOT NULL, DISABLE TRIGGER stamp")
    shop.execute("UPDATE products SET updated_at = NULL WHERE id = 3")
    run = runner(database)
    run.run()
    shop.execute("UPDATE reviews SET body = 'new' WHERE product_id = 3")
    outcome = run.run()
    assert (outcome.counts.processed, outcome.plan.null_cursors) == (0, 1)
    assert not Sweeper(run=run, max_delete_fraction=1).sweep()[0].counts


def test_a_rebuild_and_a_rollback(shop: psycopg.Connection[Any], database: Database) -> None:
    """The new generation has whole documents of the same versions, and what changes on the way is carried over."""
    run = runner(database)
    run.run()
    rebuild = Rebuilder(run=run)
    plan = rebuild.begin("20270101T000000".lower())
    rebuild.copy(plan)
    shop.execute("DELETE FROM reviews WHERE id = 3; UPDATE countries SET name = 'other' WHERE id = 2")
    run.run()
    with database.connect() as late:
        late.execute("BEGIN")
        late.execute("INSERT INTO reviews VALUES (500, 1, 1, 'late')")
        rebuild.promote(plan.generation)
        late.execute("COMMIT")
    run.run()
    assert documents(shop) == said(shop)
    rebuild.rollback()
    run.run()
    assert documents(shop) == said(shop)
    assert not Sweeper(run=run).sweep()[0].counts


def test_nothing_of_an_open_transaction_is_read(shop: psycopg.Connection[Any], database: Database) -> None:
    """A document one of whose parts is stamped past the horizon waits, in every read; the others do not."""
    run = runner(database)
    run.run()
    with database.connect() as late:
        late.execute("BEGIN")
        late.execute("INSERT INTO reviews VALUES (500, 1, 1, 'late')")
        shop.execute(
            "UPDATE products SET title = 'new' WHERE id IN (1, 2); UPDATE reviews SET body = 'new' WHERE product_id = 1"
        )
        assert run.run().counts.processed == 0
        late.execute("COMMIT")
    with run.sessions() as (source, _):
        plan = run.plan()
        assert plan.window is not None
        assert source.has_changes(plan.window)
    assert run.run().counts.processed == 2
    assert documents(shop) == said(shop)


def test_a_backfill_reads_what_was_touched_in_its_range(shop: psycopg.Connection[Any], database: Database) -> None:
    """By any of its tables; documents that were touched later are not among them."""
    run = runner(database)
    run.run()
    start = datetime.now(UTC)
    shop.execute("UPDATE reviews SET body = 'new' WHERE id IN (1, 2)")
    shop.execute("DELETE FROM reviews WHERE id = 3")
    # Of no document.
    shop.execute("INSERT INTO reviews VALUES (200, NULL, 1, 'of nothing'), (201, 999, 1, 'of what is gone')")
    middle = datetime.now(UTC)
    shop.execute("UPDATE products SET title = 'new' WHERE id = 2")
    run.run()
    outcome = run.run(Request(Mode.BACKFILL, start, middle))
    assert (outcome.counts.processed, outcome.plan.tables) == (2, {"public.reviews": 3})


def test_groups(shop: psycopg.Connection[Any], database: Database) -> None:
    """A document is in the index of its row's group, with all of its children."""
    shop.execute(
        "ALTER TABLE products ADD tenant text; UPDATE products SET tenant = CASE WHEN id < 6 THEN 'a' ELSE 'b' END"
    )
    groups = GroupRunner(
        stream=Stream(
            name="products",
            source=shop_source(database, group_by="tenant"),
            target=PostgresTarget(database.conn_id, index="{group}_index"),
        )
    )
    groups.run()
    shop.execute("DELETE FROM reviews WHERE id IN (3, 6); UPDATE products SET tenant = 'b' WHERE id = 2")
    groups.run()
    found = [
        shop.execute(f"SELECT id, title, brand, reviews, categories FROM {name}_index ORDER BY id").fetchall()
        for name in "ab"
    ]
    rows = said(shop)
    assert found == [[r for r in rows if r[0] in (1, 3, 4, 5)], [r for r in rows if r[0] in (2, 6, 7, 8, 9, 10)]]


def test_what_waits_is_told(shop: psycopg.Connection[Any], database: Database) -> None:
    """The sensor and the page count documents of whatever table something waits in."""
    run = runner(database)
    run.run()
    position = run.store.load(run.stream, run.plan().generation).position
    with run.sessions() as (source, _):
        assert source.look(position, limit=100).waiting == 0  # type: ignore[attr-defined]
        shop.execute(
            "UPDATE reviews SET body = 'new' WHERE product_id IN (1, 2); DELETE FROM comments WHERE review_id = 3"
        )
        look = source.look(position, limit=100)  # type: ignore[attr-defined]
    assert look.waiting == 3
    assert position is not None
    assert look.oldest > position.cursor


def test_composite_keys_at_every_level(database: Database) -> None:
    """Owners, children and what is referred to, each with a key of two columns, of which the names need quoting."""
    with database.connect() as connection:
        connection.execute(
            # What statements call x themselves.
            'CREATE TABLE orders ("a b" int, n int, shop int, customer text, x int DEFAULT 1,'
            " at timestamptz NOT NULL DEFAULT now(),"
            ' PRIMARY KEY ("a b", n)); CREATE INDEX ON orders (at, "a b", n); CREATE INDEX ON orders (shop, customer);'
            'CREATE TABLE lines ("a b" int, n int, place int, x int DEFAULT 2, at timestamptz NOT NULL DEFAULT now(),'
            ' PRIMARY KEY ("a b", n, place)); CREATE INDEX ON lines (at, "a b", n);'
            "CREATE TABLE customers (shop int, name text, says bytea, at timestamptz NOT NULL DEFAULT now(),"
            " PRIMARY KEY (shop, name)); CREATE INDEX ON customers (at, shop, name);"
            "INSERT INTO customers SELECT n % 2, 'c' || n, '\\x00ff' FROM generate_series(1, 4) n;"
            "INSERT INTO orders SELECT n % 2, n, n % 2, 'c' || n % 5 FROM generate_series(1, 6) n;"
            "INSERT INTO lines SELECT n % 2, n % 7, n FROM generate_series(1, 20) n"
        )
        source = PostgresSource(
            database.conn_id,
            table="public.orders",
            primary_key=("a b", "n"),
            cursor_field="at",
            margin=timedelta(0),
            columns=(),
            tombstones=True,
            children=(
                Child(
                    "lines",
                    table="public.lines",
                    foreign_key=("a b", "n"),
                    primary_key=("a b", "n", "place"),
                    cursor_field="at",
                    columns=("place", "x"),
                ),
                Parent(
                    "customer_",
                    table="public.customers",
                    via=("shop", "customer"),
                    primary_key=("shop", "name"),
                    cursor_field="at",
                    columns=("name", "says"),
                ),
            ),
        )
        source.install_tombstones()
        run = Runner(
            source=source, target=PostgresTarget(database.conn_id, index="orders_index"), sizes=Sizes(batch_rows=2)
        )
        what = (
            "SELECT \"a b\", n, coalesce((SELECT jsonb_agg(jsonb_build_object('place', place, 'x', l.x) ORDER BY place)"
            ' FROM lines l WHERE (l."a b", l.n) = (o."a b", o.n)), \'[]\'),'
            " (SELECT jsonb_build_object('name', name, 'says', 'AP8=')"
            " FROM customers c WHERE (c.shop, c.name) = (o.shop, o.customer)) FROM orders o ORDER BY 1, 2"
        )
        for change in (
            "SELECT 1",
            'UPDATE lines SET "a b" = 0, n = 2, at = now() WHERE place = 1',
            "DELETE FROM lines WHERE place = 3",
            "UPDATE customers SET name = 'c0', at = now() WHERE name = 'c1'",
            "DELETE FROM orders WHERE n = 4",
        ):
            connection.execute(change)
            run.run()
            found = connection.execute('SELECT "a b", n, lines, customer_ FROM orders_index ORDER BY 1, 2').fetchall()
            assert found == connection.execute(what).fetchall(), change


def test_foreign_keys_that_change_rows(shop: psycopg.Connection[Any], database: Database) -> None:
    """What Postgres deletes or sets in the place of the application is brought; where no trigger stamps it, the plan says so."""
    run = runner(database)
    run.run()
    shop.execute(
        "DELETE FROM products WHERE brand_id = 0; DELETE FROM product_categories WHERE product_id = 0 OR category_id = 0;"
        "DELETE FROM product_categories j WHERE NOT EXISTS (SELECT FROM products p WHERE p.id = j.product_id);"
        "ALTER TABLE products ADD CONSTRAINT made_by FOREIGN KEY (brand_id) REFERENCES brands ON DELETE SET NULL;"
        "ALTER TABLE product_categories ADD FOREIGN KEY (product_id) REFERENCES products ON DELETE CASCADE,"
        " ADD FOREIGN KEY (category_id) REFERENCES categories ON DELETE CASCADE"
    )
    run.run()
    shop.execute(
        "DELETE FROM brands WHERE id = 3; DELETE FROM categories WHERE id = 2; DELETE FROM products WHERE id = 5"
    )
    run.run()
    assert documents(shop) == said(shop)
    assert not run.plan().warnings
    shop.execute("ALTER TABLE products DISABLE TRIGGER stamp")
    (warning,) = (w for w in run.plan().warnings if "foreign key" in w)
    assert "'made_by' sets brand_id by itself when a row of brands is deleted" in warning
    shop.execute(
        "ALTER TABLE products DROP CONSTRAINT made_by,"
        " ADD CONSTRAINT named_by FOREIGN KEY (brand_id) REFERENCES brands ON UPDATE SET NULL"
    )
    assert any("'named_by' sets brand_id by itself" in warning for warning in run.plan().warnings)
