"""What happens to an index of documents of several tables of MariaDB and MySQL: rebuilds, rollbacks, sweeps and groups, in
Postgres and in a search engine; and rows whose cursor field has no time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import pytest

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.protocols import Target
from airflow_reindex_provider.core.sweeping.records import Compare
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.sources.sql import session
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.groups import GroupRunner
from airflow_reindex_provider.testing.mariadb import MariaDatabase
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.search_engine import SearchEngine
from airflow_reindex_provider.testing.sweeps import Sweeper
from tests.conformance import shop_mysql
from tests.conformance.shop_mysql import SHOP, documents, my_shop_source, rows, said, set_up

Rows = list[tuple[Any, ...]]
UTC = "SET time_zone = '+00:00'"


@dataclass(frozen=True)
class Index:
    """One kind of index. :ivar target: of a name. :ivar read: what is in that, as ``said`` says it."""

    target: Callable[[str], Target]
    read: Callable[[str], Rows]


@pytest.fixture(params=["postgres", "opensearch"])
def index(request: pytest.FixtureRequest, database: Database) -> Index:
    if request.param == "postgres":
        return Index(lambda name: PostgresTarget(database.conn_id, index=name), lambda name: documents(database, name))
    engine: SearchEngine = request.getfixturevalue("opensearch")
    own = f"_{uuid4().hex[:8]}"

    def read(name: str) -> Rows:
        found = (engine.documents(name + own) or {}).values()
        return sorted((tuple(document.values()) for document in found), key=lambda row: row[0])

    return Index(lambda name: OpenSearchTarget("opensearch", index=name + own), read)


@pytest.fixture
def shop(maria_database: MariaDatabase) -> MariaDatabase:
    return set_up(maria_database)


def runner(database: Database, target: Target | None = None, **options: Any) -> Runner:
    """In one batch: each costs sessions of its own."""
    return replace(shop_mysql.runner(database, target, **options), sizes=Sizes(), chunk_rows=4)


def test_a_rebuild_and_a_rollback(
    shop: MariaDatabase, database: Database, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new generation has whole documents of the same versions, and what changes on the way is carried over."""
    monkeypatch.setattr(session, "WAIT_S", 0.5)
    run = runner(database, index.target("products"))
    run.run()
    rebuild = Rebuilder(run=run)
    plan = rebuild.begin("20270101t000000")
    assert plan.tables == {"products": 10}
    rebuild.copy(plan)
    shop.execute("DELETE FROM reviews WHERE id = 3", "UPDATE countries SET name = 'other' WHERE id = 2")
    run.run()
    rebuild.catch_up(plan.generation)
    assert rebuild.verify(plan.generation).documents == 10
    # Which the live one has alone, each by another table; a document that is not in the other at all is carried over.
    shop.execute(
        "UPDATE comments SET body = 'carried' WHERE review_id = 1",
        "UPDATE brands SET name = 'carried' WHERE id = 2",
        "DELETE FROM product_categories WHERE product_id = 5",
        "DELETE FROM reviews WHERE id = 4",
        "INSERT INTO products (id, title) VALUES (50, 'carried')",
    )
    run.run()
    assert rebuild.swap(plan.generation) >= 1
    assert [row for row in index.read("products") if row[0] == 50] == [row for row in said(shop) if row[0] == 50]
    with closing(shop.connect(autocommit=False)) as late, late.cursor() as cursor:
        cursor.execute("INSERT INTO reviews (id, product_id, body) VALUES (500, 1, 'late')")
        shop.execute("UPDATE products SET title = 'new' WHERE id IN (1, 2)")
        rebuild.promote(plan.generation)
        late.commit()
    run.run()
    assert index.read("products") == said(shop)
    rebuild.rollback()
    run.run()
    assert index.read("products") == said(shop)
    assert not Sweeper(run=run, what=Compare.CONTENT).sweep()[0].counts


@pytest.mark.parametrize("compare", [Compare.VERSIONS, Compare.CONTENT])
def test_a_sweep_finds_nothing_and_repairs_what_is_wrong(
    shop: MariaDatabase, database: Database, compare: Compare
) -> None:
    """Versions are those of whole documents, on both sides; what was changed behind the index's back comes back whole."""
    run = runner(database)
    run.run()
    shop.execute("DELETE FROM reviews WHERE id = 3", "UPDATE brands SET name = 'other' WHERE id = 1")
    run.run()
    sweep = Sweeper(run=run, what=compare, max_delete_fraction=1)
    assert not sweep.sweep()[0].counts
    with database.connect() as connection:
        connection.execute(f'DELETE FROM "{run.plan().generation}" WHERE id = 2'.encode())
    shop.execute("DELETE FROM products WHERE id = 7", "DELETE FROM products_tombstones")
    if compare is Compare.CONTENT:
        shop.execute("UPDATE reviews SET body = 'silent', updated_at = updated_at WHERE id = 1")
        shop.execute("TRUNCATE comments")
    sweep.sweep()
    assert documents(database) == said(shop)
    assert not sweep.sweep()[0].counts


def test_groups(maria_database: MariaDatabase, database: Database, index: Index) -> None:
    """A document is in the index of its row's group, with all of its children, and moves with it; a group is rebuilt alone."""
    maria_database.execute(
        *SHOP,
        *rows(),
        "ALTER TABLE products ADD tenant VARCHAR(9), ADD KEY (tenant, updated_at)",
        "UPDATE products SET tenant = IF(id < 6, 'a', 'b')",
    )
    source = my_shop_source(group_by="tenant")
    source.install_tombstones()
    groups = GroupRunner(stream=Stream(name="products", source=source, target=index.target("{group}_index")))

    def must_agree() -> None:
        groups.run()
        of = dict(maria_database.execute("SELECT id, tenant FROM products"))
        for name in "ab":
            assert index.read(f"{name}_index") == [row for row in said(maria_database) if of[row[0]] == name]

    must_agree()
    maria_database.execute("DELETE FROM reviews WHERE id IN (3, 6)", "UPDATE products SET tenant = 'b' WHERE id = 2")
    must_agree()
    rebuild = Rebuilder(run=groups.of_group("a"))
    plan = rebuild.begin("20270101t000000")
    rebuild.copy(plan)
    maria_database.execute(
        "UPDATE products SET tenant = 'a' WHERE id = 8",
        "UPDATE products SET tenant = 'b' WHERE id = 3",
        "UPDATE brands SET name = 'other' WHERE id = 1",
        "DELETE FROM comments WHERE review_id = 1",
    )
    groups.run()
    rebuild.promote(plan.generation)
    must_agree()
    assert not Sweeper(run=groups.of_group("a"), what=Compare.CONTENT).sweep()[0].counts


def test_a_child_with_a_zero_date(either_database: MariaDatabase, database: Database) -> None:
    """Brings no document, and a plan says so; what is nested in it does, and the document has both."""
    set_up(either_database)
    run = runner(database)
    run.run()
    either_database.execute(
        "SET SESSION sql_mode = ''", "UPDATE reviews SET updated_at = '0000-00-00', body = 'old' WHERE id = 3"
    )
    outcome = run.run()
    assert outcome.counts.processed == 0
    (warning,) = (w for w in outcome.plan.warnings if "zero date" in w)
    assert "reviews on connection 'shop_mysql': 1 rows have a zero date in cursor_field 'updated_at'" in warning
    either_database.execute("UPDATE comments SET body = 'new' WHERE review_id = 3")
    assert run.run().counts.processed == 1
    assert documents(database) == said(either_database)
    assert not Sweeper(run=run).sweep()[0].counts
    mended = warning.partition("Give them a time, ")[2].partition(";")[0]
    either_database.execute(mended)
    assert not any("zero date" in w for w in run.run().plan.warnings)


def test_a_child_with_a_month_0(either_database: MariaDatabase, database: Database) -> None:
    """In a cursor field that can have one it is refused, as in a row's own, with the statement that mends it."""
    local = (statement.replace("TIMESTAMP(6) NOT NULL", "DATETIME(6) NOT NULL") for statement in SHOP)
    either_database.execute(*local, UTC, *rows())
    my_shop_source(cursor_timezone="UTC").install_tombstones()
    run = runner(database, cursor_timezone="UTC")
    run.run()
    assert documents(database) == said(either_database)
    either_database.execute(
        UTC, "DELETE FROM reviews WHERE id = 4", "UPDATE comments SET body = 'new' WHERE review_id = 3"
    )
    run.run()
    assert documents(database) == said(either_database)
    either_database.execute(
        "SET SESSION sql_mode = ''",
        "UPDATE reviews SET updated_at = CONCAT(YEAR(UTC_TIMESTAMP()), '-', MONTH(UTC_TIMESTAMP()), '-00') WHERE id = 5",
    )
    with pytest.raises(ConfigurationError, match=r"month or a day 0 .*UPDATE reviews SET updated_at"):
        Rebuilder(run=run).begin("20270101t000000")
