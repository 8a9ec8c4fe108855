"""Documents of several tables: what is wrong with one of the tables is told, with what mends it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Finding, Level
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.sources.sql.children import Child
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.sweeps import Sweeper
from tests.conformance.shop import CHILDREN, runner, shop_source

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


def test_a_document_of_tables_that_are_none(database: Database) -> None:
    """What cannot have children says so when it is written down."""
    with pytest.raises(ConfigurationError, match="need a table"):
        shop_source(database, table=None, query="SELECT 1", tombstones=False)
    with pytest.raises(ConfigurationError, match="two children of the name"):
        shop_source(database, children=(*CHILDREN, CHILDREN[0]))
    with pytest.raises(ConfigurationError, match="either foreign_key or through"):
        Child("x", table="t", cursor_field="c")
