"""Documents of several tables: sweeps compare and repair them whole, and what was recorded of losses may go."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.control.tombstones import purge_tombstones
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.sweeping.records import Compare
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.sources.sql.children import Parent
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper
from tests.conformance.shop import documents, runner, said, stream


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
