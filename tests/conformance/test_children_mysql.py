"""Documents of several tables of MariaDB and MySQL: whatever changes, leaves or moves in one of them, the index says what one
statement says."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_reindex_provider.core.planning import Sizes
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.mariadb import MariaDatabase
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from tests.conformance.shop import CHANGES
from tests.conformance.shop_mysql import SHOP, my_shop_source, rows, said, statements


@pytest.fixture
def shop(either_database: MariaDatabase) -> MariaDatabase:
    either_database.execute(*SHOP, *rows())
    my_shop_source().install_tombstones()
    return either_database


def runner(database: Database, **options: Any) -> Runner:
    return Runner(
        source=my_shop_source(**options),
        target=PostgresTarget(database.conn_id, index="products_index"),
        sizes=Sizes(batch_rows=3, max_batches=64),
        chunk_rows=2,
    )


def documents(database: Database) -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        return connection.execute(
            "SELECT id, title, brand, reviews, categories FROM products_index ORDER BY id"
        ).fetchall()


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
