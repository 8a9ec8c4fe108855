"""Documents of several tables of MariaDB and MySQL: whatever changes, leaves or moves in one of them, the index says what one
statement says."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from clean_ups import stream_of
from sqlalchemy.dialects import mysql

from airflow_reindex_provider.control.tombstones import count_purgeable, purge_tombstones
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Mode, Position, Window
from airflow_reindex_provider.core.protocols import LookingSource
from airflow_reindex_provider.core.sweeping.records import Compare
from airflow_reindex_provider.core.windows import Request
from airflow_reindex_provider.sources.mysql import MySqlSource
from airflow_reindex_provider.sources.mysql.session import MySqlSourceSession
from airflow_reindex_provider.sources.sql import assembling
from airflow_reindex_provider.sources.sql.children import Child, Parent
from airflow_reindex_provider.sources.sql.composing import Span
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.mariadb import MariaDatabase
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper
from tests.conformance.shop import CHANGES
from tests.conformance.shop_mysql import (
    AT,
    COLUMNS,
    MY_CHILDREN,
    SHOP,
    VALUES,
    documents,
    my_shop_source,
    rows,
    runner,
    said,
    set_up,
    statements,
)


@pytest.fixture
def shop(either_database: MariaDatabase) -> MariaDatabase:
    return set_up(either_database)


def test_every_change_is_brought(shop: MariaDatabase, database: Database) -> None:
    """Of the row, of what it has, of what it refers to, and of what left it: by the run after it, which reads little else."""
    run = runner(database)
    first = run.run()
    assert first.plan.tables == {"products": 10}
    assert documents(database) == said(shop)
    for name, change in CHANGES.items():
        if "TRUNCATE" in change:
            # Fires no trigger here: see the test of it.
            change = "DELETE FROM reviews"
        before = documents(database)
        shop.execute(*statements(change))
        outcome = run.run()
        after = documents(database)
        assert after == said(shop), name
        assert (before != after) is ("back and forth" not in name), name
        changed = {d[0] for d in before if d not in after} | {d[0] for d in after if d not in before}
        assert len(changed) <= outcome.counts.processed <= len(changed) + 2, name
    assert run.run().counts.processed == 0


def lost(shop: MariaDatabase) -> list[int]:
    return [id for (id,) in shop.execute("SELECT product_id FROM reviews_product_id_tombstones ORDER BY 1")]


def test_purging_lowers_no_version(shop: MariaDatabase, database: Database) -> None:
    """What was recorded goes, but for the last of what a version rests on: a sweep sees no difference, and can still repair."""
    run = runner(database)
    run.run()
    shop.execute(
        "DELETE FROM reviews WHERE id = 3",
        "DELETE FROM reviews WHERE id = 11",
        "DELETE FROM reviews WHERE id = 4",
        "UPDATE reviews SET stars = 4 WHERE id = 12",
        "DELETE FROM reviews WHERE product_id = 5",
        "DELETE FROM products WHERE id = 5",
    )
    run.run()
    assert run.run().counts.processed == 0
    assert lost(shop) == [3, 3, 4, 5, 5, 5, 5]
    assert count_purgeable(stream_of(run), older_than=timedelta(0)) == 7
    assert purge_tombstones(stream_of(run), older_than=timedelta(0)) == 7
    # Of product 3 the last one stays; product 4 has a row as late as what it lost, and product 5 is gone.
    assert lost(shop) == [3]
    sweep = Sweeper(run=run, max_delete_fraction=1)
    assert not sweep.sweep()[0].counts
    with database.connect() as connection:
        connection.execute(f'DELETE FROM "{run.plan().generation}"'.encode())
    sweep.sweep()
    assert documents(database) == said(shop)
    assert not sweep.sweep()[0].counts


def test_purging_asks_every_owner(maria_database: MariaDatabase, database: Database) -> None:
    """A table of losses may serve several owners, of one document or of two streams: what one of them rests on stays."""
    maria_database.execute(
        f"CREATE TABLE addresses (id INT PRIMARY KEY, city TEXT, {AT}, KEY (updated_at, id))",
        f"CREATE TABLE orders (id INT PRIMARY KEY, bill INT, ship INT, {AT}, KEY (updated_at), KEY (bill), KEY (ship))",
        f"CREATE TABLE shops (id INT PRIMARY KEY, address INT, {AT}, KEY (updated_at), KEY (address))",
        "INSERT INTO addresses (id, city) VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e')",
        "INSERT INTO orders (id, bill, ship) VALUES (1, 1, 2), (2, 1, 3)",
        "INSERT INTO shops (id, address) VALUES (1, 4)",
    )

    def reading(table: str, **fields: str) -> Runner:
        addresses = tuple(
            Parent(name, table="addresses", via=via, cursor_field="updated_at", columns=("city",))
            for name, via in fields.items()
        )
        source = my_shop_source(table=table, columns=None, tombstones=False, children=addresses)
        source.install_tombstones()
        return Runner(source=source, target=PostgresTarget(database.conn_id, index=f"{table}_index"), stream=table)

    orders, shops = reading("orders", bill_to="bill", ship_to="ship"), reading("shops", where="address")
    for run in (orders, shops):
        run.run()
    maria_database.execute("DELETE FROM addresses WHERE id IN (2, 4, 5)")
    for run in (orders, shops, orders, shops):
        run.run()
    left = "SELECT id FROM addresses_id_tombstones ORDER BY 1"
    assert purge_tombstones(stream_of(orders), older_than=timedelta(0)) == 1
    assert maria_database.execute(left) == [(2,), (4,)]
    maria_database.execute("DROP TABLE shops")
    assert purge_tombstones(stream_of(orders), older_than=timedelta(0)) == 1
    assert maria_database.execute(left) == [(2,)]
    maria_database.execute("ALTER TABLE addresses_id_tombstones COMMENT = ''")
    with pytest.raises(ConfigurationError, match=r"not made for rows of orders by \(bill\)"):
        orders.run()


def test_a_list_past_its_limit_is_parked(shop: MariaDatabase, database: Database) -> None:
    """With the reason, and without the others; what is nested counts, and it comes once it is short enough."""
    children = tuple(
        replace(c, max_rows=10) if isinstance(c, Child) and c.name == "reviews" else c for c in MY_CHILDREN
    )
    shop.execute(f"INSERT INTO comments (review_id, place) VALUES {', '.join(f'(3, {n})' for n in range(100, 109))}")
    run = runner(database, children=children)
    run.run()
    (parked,) = run.store.load(run.stream, run.plan().generation).parked
    assert parked.key == ("3",)
    assert "reviews has more than max_rows=10 rows" in parked.reason
    assert [d[0] for d in documents(database)] == [1, 2, 4, 5, 6, 7, 8, 9, 10]
    shop.execute("DELETE FROM comments WHERE place >= 100")
    run.run()
    assert documents(database) == said(shop)


def test_much_at_once_is_read_in_pieces(
    maria_database: MariaDatabase, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Places and pages of a few, rows of a part and bytes past what a page may have: the documents are the same."""
    maria_database.execute(*SHOP, *rows())
    source = my_shop_source()
    source.install_tombstones()
    monkeypatch.setattr(assembling, "PLACES", 4)
    monkeypatch.setattr(assembling, "PAGE_ROWS", 3)
    monkeypatch.setattr(assembling, "PAGE_BYTES", 300)
    run = Runner(source=source, target=PostgresTarget(database.conn_id, index="products_index"))
    run.run()
    assert documents(database) == said(maria_database)


def test_values_of_objects(shop: MariaDatabase, database: Database) -> None:
    """Are right to the last digit and microsecond, and JSON in JSON."""
    names = [f"v{n}" for n in range(len(VALUES))]
    shop.execute(
        f"ALTER TABLE brands {', '.join(f'ADD {n} {kind}' for n, kind in zip(names, VALUES, strict=True))}",
        "SET time_zone = '+00:00'",
        f"UPDATE brands SET {', '.join(f'{n} = {v}' for n, (v, _) in zip(names, VALUES.values(), strict=True))} WHERE id = 3",
    )
    brand = replace(MY_CHILDREN[0], columns=tuple(names), children=())
    run = runner(database, children=(brand,))
    run.run()
    with database.connect() as connection:
        shown = ", ".join(f"(brand->'{name}')::text" for name in names)
        found = connection.execute(f"SELECT {shown} FROM products_index WHERE id = 3".encode()).fetchone()
    assert found == tuple(wanted for _, wanted in VALUES.values())


def test_keys_that_a_collation_takes_for_equal(either_database: MariaDatabase, database: Database) -> None:
    """It is the database that says what belongs to what; composite keys, and a table that is there twice."""
    text = "VARCHAR(9) COLLATE utf8mb4_unicode_ci"
    either_database.execute(
        f"CREATE TABLE orders (a {text}, n INT, {AT}, PRIMARY KEY (a, n), KEY (updated_at))",
        f"CREATE TABLE parts (a {text}, n INT, place INT, above INT, {AT}, PRIMARY KEY (place), KEY (updated_at), KEY (a, n),"
        " KEY (above))",
        "INSERT INTO orders (a, n) VALUES ('x', 1), ('Y', 1), ('z', 1)",
        "INSERT INTO parts (a, n, place, above) VALUES ('X', 1, 1, 2), ('x', 1, 2, NULL), ('y', 1, 3, 1)",
    )
    common: dict[str, Any] = {
        "table": "parts",
        "primary_key": "place",
        "cursor_field": "updated_at",
        "columns": ("place",),
    }
    children = (Child("parts", foreign_key=("a", "n"), children=(Parent("above", via="above", **common),), **common),)
    source = my_shop_source(table="orders", primary_key=("a", "n"), columns=("a", "n"), children=children)
    source.install_tombstones()
    run = Runner(source=source, target=PostgresTarget(database.conn_id, index="orders_index"))
    run.run()

    def found() -> list[tuple[Any, ...]]:
        with database.connect() as connection:
            return connection.execute("SELECT a, parts FROM orders_index ORDER BY 1").fetchall()

    one = {"place": 1, "above": {"place": 2}}
    assert found() == [
        ("Y", [{"place": 3, "above": {"place": 1}}]),
        ("x", [one, {"place": 2, "above": None}]),
        ("z", []),
    ]
    # Equal to what it was, so it goes nowhere; and then away, which two documents show.
    either_database.execute("UPDATE parts SET a = 'x' WHERE place = 1")
    run.run()
    assert either_database.execute("SELECT COUNT(*) FROM parts_a_n_tombstones") == [(0,)]
    either_database.execute("DELETE FROM parts WHERE place = 1")
    assert run.run().counts.updated == 2
    assert found() == [("Y", [{"place": 3, "above": None}]), ("x", [{"place": 2, "above": None}]), ("z", [])]


def test_what_waits_and_what_was_touched(shop: MariaDatabase, database: Database) -> None:
    """A document one of whose parts an open transaction has waits in every read; a sensor counts, a backfill reads its range."""
    run = runner(database)
    run.run()
    position = run.store.load(run.stream, run.plan().generation).position
    start = datetime.now(UTC)
    shop.execute("UPDATE reviews SET body = 'new' WHERE id IN (1, 2)", "DELETE FROM reviews WHERE id = 3")
    shop.execute("INSERT INTO reviews (id, product_id) VALUES (200, NULL), (201, 999)")
    middle = datetime.now(UTC)
    with run.sessions() as (source, _):
        assert isinstance(source, LookingSource)
        look = source.look(position, limit=100)
        assert (look.waiting, look.ahead) == (3, 0)
    shop.execute("UPDATE products SET title = 'new' WHERE id = 2")
    run.run()
    outcome = run.run(Request(Mode.BACKFILL, start, middle))
    assert (outcome.counts.processed, outcome.plan.tables) == (2, {"reviews": 3})
    with closing(shop.connect(autocommit=False)) as late, late.cursor() as cursor:
        cursor.execute("INSERT INTO reviews (id, product_id, body) VALUES (500, 1, 'late')")
        shop.execute("UPDATE products SET title = 'newer' WHERE id IN (1, 2)")
        with run.sessions() as (source, _):
            assert isinstance(source, MySqlSourceSession)
            horizon = source.glance()
            assert horizon.cursor is None or horizon.held_by
        late.commit()
    assert run.run().counts.processed == 2
    assert documents(database) == said(shop)
    assert not Sweeper(run=run, what=Compare.CONTENT).sweep()[0].counts


WRONG = {
    "no such column": ("", {"foreign_key": "product"}, "'product', which is no column"),
    "an order by no column": ("", {"order_by": "rank"}, "'rank', which is no column"),
    "a cursor of another type": (
        "ALTER TABLE reviews MODIFY updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP",
        {},
        r"of one type. ALTER TABLE .* MODIFY `updated_at` TIMESTAMP\(6\) NOT NULL DEFAULT",
    ),
    "a cursor that may be NULL": ("ALTER TABLE reviews MODIFY updated_at TIMESTAMP(6) NULL", {}, "can be NULL.*MODIFY"),
    "no index on the foreign key": ("ALTER TABLE reviews DROP KEY reviews_of", {}, r"CREATE INDEX .*\(`product_id`\);"),
    "a key of too many columns": ("", {"foreign_key": ("product_id", "id")}, "not as many columns"),
    "a key that is not unique": ("", {"primary_key": "stars"}, "is not unique.*ADD UNIQUE KEY"),
    "no triggers": ("DROP TRIGGER reviews_product_id_tombstones_delete", {}, "CREATE TRIGGER"),
    "a name that is taken": ("", {"name": "title"}, "another name"),
    "another engine": ("ALTER TABLE reviews ENGINE=MyISAM", {}, "ENGINE=InnoDB;"),
    "types that are not alike": (
        "ALTER TABLE reviews MODIFY product_id VARCHAR(20)",
        {},
        "must be of one kind. ALTER TABLE .* MODIFY `product_id` BIGINT",
    ),
}


@pytest.mark.parametrize(("change", "options", "says"), WRONG.values(), ids=WRONG)
def test_what_is_missing_is_told_before_anything_is_written(
    maria_database: MariaDatabase, database: Database, change: str, options: dict[str, Any], says: str
) -> None:
    """With the statement that mends it."""
    maria_database.execute(*SHOP)
    my_shop_source().install_tombstones()
    if change:
        maria_database.execute(change)
    reviews: Any = replace(MY_CHILDREN[1], children=())
    with pytest.raises(ConfigurationError, match=f"(?s){says}"):
        runner(database, children=(replace(reviews, **options),)).run()
    with database.connect() as connection:
        assert connection.execute("SELECT to_regclass('products_index')").fetchone() == (None,)


def test_what_goes_past_triggers_is_said(maria_database: MariaDatabase) -> None:
    """A foreign key that deletes what a document shows; not one that deletes what goes with it."""
    maria_database.execute(
        *SHOP,
        "ALTER TABLE product_categories ADD CONSTRAINT owned FOREIGN KEY (product_id) REFERENCES products (id) ON DELETE CASCADE",
        "ALTER TABLE reviews DROP KEY reviews_changes",
        "ALTER TABLE product_categories ADD CONSTRAINT linked FOREIGN KEY (category_id) REFERENCES categories (id)"
        " ON DELETE CASCADE",
    )
    source = my_shop_source()
    source.install_tombstones()
    with source.open() as session:
        index, cascade = session.survey().warnings
    assert "CREATE INDEX `reviews_updated_at_product_id` ON" in index
    assert "'linked' deletes rows" in cascade
    assert (
        MySqlSource.deserialize(
            json.loads(json.dumps(source.serialize() | {"margin": None})) | {"margin": source.margin}
        )
        == source
    )


def test_windows_read_no_other_rows(maria_database: MariaDatabase) -> None:
    """What is touched comes by each table's own index on its cursor, and rows by their keys, however many others there are."""
    maria_database.execute(*SHOP)
    for table in ("brands", "products", "reviews", "comments"):
        columns = COLUMNS[table].split(", ")
        values = ", ".join(f"({', '.join([str(n)] * len(columns))})" for n in range(1, 3001))
        maria_database.execute(f"INSERT INTO {table} ({COLUMNS[table]}) VALUES {values}", f"ANALYZE TABLE {table}")
    source = my_shop_source()
    source.install_tombstones()
    with source.open() as session:
        found = session.describe()
        assert found.composition is not None
        window = Window(Position("2027-01-01 00:00:00+00"), Position("2027-01-02 00:00:00+00"))
        touched = found.composition.touched(found.relation, Span.of(window)).all_keys()
        statement = str(touched.compile(dialect=mysql.dialect(), compile_kwargs={"literal_binds": True}))
    plan = maria_database.execute(f"EXPLAIN {statement}")
    assert [row for row in plan if row[3] in ("ALL", "index") and not str(row[2]).startswith("<")] == []
