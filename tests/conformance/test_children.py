"""Documents of several tables: whatever changes, leaves or moves in one of them, the index says what one statement says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import psycopg
import pytest

from airflow_reindex_provider.control.tombstones import purge_tombstones
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Batch, Finding, Format, Level, Mode, Position, Transform, Window
from airflow_reindex_provider.core.sweeping.records import Compare
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
from tests.conformance.shop import CHANGES, CHILDREN, SAID, SHOP, shop_source

FORMATS = [pytest.param(None, id="pg_copy"), pytest.param(lambda row: row, id="rows")]

ROWS = """
INSERT INTO countries SELECT n, 'country ' || n FROM generate_series(1, 2) n;
INSERT INTO brands SELECT n, 'brand ' || n, n % 3 FROM generate_series(1, 3) n;
INSERT INTO products SELECT n, 'product ' || n, n % 4 FROM generate_series(1, 10) n;
INSERT INTO reviews SELECT n, n % 8, n % 5, 'review ' || n, n % 7 = 0 FROM generate_series(1, 30) n;
INSERT INTO comments SELECT n % 20, n, 'comment ' || n FROM generate_series(1, 40) n;
INSERT INTO categories SELECT n, 'category ' || n % 3 FROM generate_series(1, 5) n;
INSERT INTO product_categories SELECT n % 9, n % 6 FROM generate_series(1, 50) n GROUP BY 1, 2;
"""


@pytest.fixture
def shop(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with database.connect() as connection:
        connection.execute(SHOP + ROWS)
        shop_source(database).install_tombstones()
        yield connection


def runner(database: Database, transform: Transform | None = None, **options: Any) -> Runner:
    return Runner(
        source=shop_source(database, **options),
        target=PostgresTarget(database.conn_id, index="products_index"),
        transform=transform,
        sizes=Sizes(batch_rows=3, max_batches=64),
        chunk_rows=2,
    )


def documents(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return connection.execute("SELECT id, title, brand, reviews, categories FROM products_index ORDER BY id").fetchall()


def said(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return connection.execute(SAID).fetchall()


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


def stream(database: Database, run: Runner) -> Stream:
    return Stream(name=run.stream, source=run.source, target=run.target, checkpoint=run.store)


@pytest.mark.parametrize("compare", [Compare.VERSIONS, Compare.CONTENT])
def test_a_sweep_finds_nothing_and_repairs_what_is_wrong(
    shop: psycopg.Connection[Any], database: Database, compare: Compare
) -> None:
    """Versions are those of whole documents, on both sides; what was changed behind the index's back comes back whole."""
    run = runner(database)
    run.run()
    shop.execute("DELETE FROM reviews WHERE id = 3; UPDATE brands SET name = 'other' WHERE id = 1")
    run.run()
    sweep = Sweeper(run=run, what=compare, max_delete_fraction=1)
    assert not sweep.sweep()[0].counts
    generation = run.plan().generation
    shop.execute(f'DELETE FROM "{generation}" WHERE id = 2')
    shop.execute(
        "DELETE FROM products WHERE id = 7; DELETE FROM products_tombstones; ALTER TABLE reviews DISABLE TRIGGER stamp"
    )
    if compare is Compare.CONTENT:
        shop.execute("UPDATE reviews SET body = 'silent' WHERE id = 1")
    sweep.sweep()
    assert documents(shop) == said(shop)
    assert not sweep.sweep()[0].counts


def test_purging_lowers_no_version(shop: psycopg.Connection[Any], database: Database) -> None:
    """What was recorded goes, but for the last of what a version rests on: a sweep sees no difference, and can still repair."""
    run = runner(database)
    run.run()
    shop.execute("DELETE FROM reviews WHERE id = 3")
    shop.execute("DELETE FROM reviews WHERE id = 11")
    shop.execute("DELETE FROM reviews WHERE id = 4; UPDATE reviews SET stars = 4 WHERE id = 12")
    shop.execute("DELETE FROM reviews WHERE product_id = 5; DELETE FROM products WHERE id = 5")
    run.run()
    run.run()
    lost = "SELECT product_id FROM reviews_product_id_tombstones ORDER BY 1"
    assert [id for (id,) in shop.execute(lost)] == [3, 3, 4, 5, 5, 5, 5]
    assert purge_tombstones(stream(database, run), older_than=timedelta(0)) >= 6
    # Of product 3 the last one stays; product 4 has a row as late as what it lost, and product 5 is gone.
    assert [id for (id,) in shop.execute(lost)] == [3]
    sweep = Sweeper(run=run, max_delete_fraction=1)
    assert not sweep.sweep()[0].counts
    shop.execute(f'DELETE FROM "{run.plan().generation}"')
    sweep.sweep()
    assert documents(shop) == said(shop)
    assert not sweep.sweep()[0].counts


def test_purging_asks_every_owner(database: Database) -> None:
    """A table of losses may serve several owners, of one document or of two streams: what one of them rests on stays."""
    with database.connect() as connection:
        connection.execute(
            "CREATE TABLE addresses (id int PRIMARY KEY, city text, at timestamptz NOT NULL DEFAULT now());"
            "CREATE TABLE orders (id int PRIMARY KEY, bill int, ship int, at timestamptz NOT NULL DEFAULT now());"
            "CREATE TABLE shops (id int PRIMARY KEY, address int, at timestamptz NOT NULL DEFAULT now());"
            "CREATE INDEX ON orders (bill); CREATE INDEX ON orders (ship); CREATE INDEX ON shops (address);"
            "INSERT INTO addresses SELECT n, 'city ' || n FROM generate_series(1, 5) n;"
            "INSERT INTO orders VALUES (1, 1, 2), (2, 1, 3); INSERT INTO shops VALUES (1, 4)"
        )

        def reading(table: str, **fields: str) -> Runner:
            addresses = tuple(
                Parent(name, table="public.addresses", via=via, cursor_field="at", columns=("city",))
                for name, via in fields.items()
            )
            source = PostgresSource(
                database.conn_id,
                table=f"public.{table}",
                primary_key="id",
                cursor_field="at",
                margin=timedelta(0),
                children=addresses,
            )
            source.install_tombstones()
            return Runner(source=source, target=PostgresTarget(database.conn_id, index=f"{table}_index"), stream=table)

        orders = reading("orders", bill_to="bill", ship_to="ship")
        orders.run()
        with orders.source.open() as source:
            source.survey()
        shops = reading("shops", where="address")
        shops.run()
        connection.execute("DELETE FROM addresses WHERE id IN (2, 4, 5)")
        for run in (orders, shops, orders, shops):
            run.run()
        lost = "SELECT id FROM addresses_id_tombstones ORDER BY 1"
        assert purge_tombstones(stream(database, orders), older_than=timedelta(0)) == 1
        assert [id for (id,) in connection.execute(lost)] == [2, 4]
        connection.execute("DELETE FROM shops")
        assert purge_tombstones(stream(database, orders), older_than=timedelta(0)) == 1
        connection.execute("DROP TABLE shops CASCADE; COMMENT ON TABLE orders IS 'said by others'")
        assert isinstance(orders.source, PostgresSource)
        orders.source.install_tombstones()
        assert purge_tombstones(stream(database, orders), older_than=timedelta(0)) == 0
        assert [id for (id,) in connection.execute(lost)] == [2]
        assert not Sweeper(run=orders, max_delete_fraction=1).sweep()[0].counts
        connection.execute("COMMENT ON TABLE addresses_id_tombstones IS NULL")
        with pytest.raises(ConfigurationError, match=r'not made for rows of "orders" by \("bill"\)'):
            orders.run()


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


def test_a_part_that_no_window_reaches_is_told(shop: psycopg.Connection[Any], database: Database) -> None:
    """It keeps its document as it was, so runs and sweeps say so; one at -infinity is in no window either."""
    run = runner(database)
    run.run()
    shop.execute("ALTER TABLE comments DISABLE TRIGGER stamp; ALTER TABLE brands DISABLE TRIGGER stamp")
    shop.execute("UPDATE comments SET body = 'late', updated_at = 'infinity' WHERE review_id = 3")
    shop.execute("UPDATE brands SET name = 'early', updated_at = '-infinity' WHERE id = 2")
    plan = run.plan()
    (late,) = shop.execute("SELECT count(*) FROM comments WHERE review_id = 3").fetchone() or (0,)
    assert plan.ahead_cursors == late > 0
    assert any("further ahead of the source's clock" in warning for warning in plan.warnings)
    assert any("-infinity" in warning for warning in plan.warnings)
    sweep, _ = Sweeper(run=run, max_delete_fraction=1).plan()
    assert any("this sweep does not judge them" in warning for warning in sweep.warnings)


def test_a_source_goes_through_json(database: Database) -> None:
    """A sensor's trigger makes an equal one of it."""
    source = shop_source(database)
    assert (
        PostgresSource.deserialize(
            source.serialize() | {"children": json.loads(json.dumps(source.serialize()["children"]))}
        )
        == source
    )


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


WRONG = {
    "a view": (
        "CREATE VIEW reviews_view AS SELECT * FROM reviews",
        {"table": "public.reviews_view"},
        "unique|needs a table",
    ),
    "a table that others inherit from": (
        "CREATE TABLE old_reviews () INHERITS (reviews)",
        {"tombstones": "public.other"},
        "no other inherits from",
    ),
    "no such column": ("", {"foreign_key": "product"}, "'product', which is no column"),
    "an order by no column": ("", {"order_by": "rank"}, "'rank', which is no column"),
    "a cursor of another type": (
        "ALTER TABLE reviews ADD at date NOT NULL DEFAULT now()",
        {"cursor_field": "at"},
        "of one type",
    ),
    "a cursor that may be NULL": ("ALTER TABLE reviews ALTER updated_at DROP NOT NULL", {}, "SET NOT NULL;"),
    "no index on the foreign key": (
        "DROP INDEX reviews_product_id_idx",
        {},
        'CREATE INDEX CONCURRENTLY ON .* \\("product_id"\\);',
    ),
    "a key of too many columns": ("", {"foreign_key": ("product_id", "id")}, "not as many columns"),
    "a key that is not unique": ("", {"primary_key": "stars"}, "unique"),
    "no triggers": ("DROP TRIGGER reviews_product_id_tombstones_delete ON reviews", {}, "CREATE OR REPLACE TRIGGER"),
    "a name that is taken": ("", {"name": "title"}, "another name"),
    "types that do not compare": (
        "DROP TRIGGER reviews_product_id_tombstones_update ON reviews; ALTER TABLE reviews ALTER product_id TYPE text",
        {"tombstones": False},
        "operator does not exist",
    ),
}


@pytest.mark.parametrize(("change", "options", "says"), WRONG.values(), ids=WRONG)
def test_what_is_missing_is_told_before_anything_is_written(
    shop: psycopg.Connection[Any], database: Database, change: str, options: dict[str, Any], says: str
) -> None:
    """With the statement that mends it; the doctor says the same."""
    if change:
        shop.execute(change)
    with pytest.raises(ConfigurationError, match=says):
        runner(database, cursor_timezone="UTC", children=(replace(CHILDREN[1], children=(), **options),)).run()
    assert shop.execute("SELECT to_regclass('products_index')").fetchone() == (None,)


def test_the_doctor(shop: psycopg.Connection[Any], database: Database) -> None:
    """Each table's rights, indexes, stamps and triggers, with the statement that mends what is wrong."""

    def told() -> list[Finding]:
        with shop_source(database).open() as source:
            return list(source.check())

    assert [f for f in told() if f.level is not Level.OK] == []
    shop.execute("DROP INDEX reviews_updated_at_product_id_idx; DROP INDEX products_brand_id_idx")
    shop.execute("DROP TRIGGER brands_id_tombstones_delete ON brands; ALTER TABLE categories DISABLE TRIGGER stamp")
    bad = {(f.level, f.what): f.statement for f in told() if f.level is not Level.OK}
    assert "CREATE OR REPLACE TRIGGER" in (bad.pop((Level.WRONG, "child brand")) or "")
    assert bad[Level.WARNING, "index"] is not None
    assert set(bad) == {(Level.WARNING, "index")}


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


def test_a_document_of_tables_that_are_none(database: Database) -> None:
    """What cannot have children says so when it is written down."""
    with pytest.raises(ConfigurationError, match="need a table"):
        shop_source(database, table=None, query="SELECT 1", tombstones=False)
    with pytest.raises(ConfigurationError, match="two children of the name"):
        shop_source(database, children=(*CHILDREN, CHILDREN[0]))
    with pytest.raises(ConfigurationError, match="either foreign_key or through"):
        Child("x", table="t", cursor_field="c")
