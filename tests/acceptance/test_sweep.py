"""A sweep of a real Postgres index finds what differs, repairs it, and deletes nothing without proof."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.core.model import Counts
from airflow_reindex_provider.core.planning import Sizes
from airflow_reindex_provider.core.sweeping import Difference
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper

Connection = psycopg.Connection[Any]
ROWS = 6_000
KEYS = {
    "integer": ("id bigint", "n"),
    "uuid": ("id uuid", "md5(n::text)::uuid"),
    "text": ("id text", "(ARRAY['Ä', 'a', 'B', 'é ', 'z''s \\', E'\\t', '😀', '%s'])[1 + n % 8] || n"),
    "composite": ("tenant text, id int", "'Tenant ' || n % 7, n"),
}


@pytest.fixture
def db(database: Database) -> Iterator[Connection]:
    with database.connect() as connection:
        yield connection


@pytest.fixture
def swept(database: Database) -> Sweeper:
    return sweeper(database)


def sweeper(database: Database, key: tuple[str, ...] = ("id",), **options: Any) -> Sweeper:
    source = PostgresSource(
        database.conn_id,
        **{
            "table": "items",
            "primary_key": key,
            "cursor_field": "updated_at",
            "soft_delete_column": "gone",
            "margin": timedelta(0),
            **options,
        },
    )
    target = PostgresTarget(database.conn_id, index="items_index")
    return Sweeper(run=Runner(source=source, target=target, sizes=Sizes(batch_rows=2_500, max_batches=64)))


def fill(db: Connection, kind: str = "integer", rows: int = ROWS) -> None:
    """A table of some rows, whose cursor values lie one second apart, up to a minute ago."""
    columns, value = KEYS[kind]
    names = ", ".join(column.split()[0] for column in columns.split(", "))
    db.execute(
        f"CREATE TABLE items ({columns}, v int, gone boolean NOT NULL DEFAULT false,"
        f" updated_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY ({names}))"
    )
    db.execute(
        f"INSERT INTO items ({names}, v, updated_at) SELECT {value}, n, now() - (1 + n) * interval '1 s'"
        f" FROM generate_series(1, {rows}) AS n"
    )


def generation(db: Connection) -> str:
    row = db.execute("SELECT relname FROM pg_class WHERE relname LIKE 'items\\_index\\_%' AND relkind = 'r'").fetchone()
    assert row is not None
    return f'"{row[0]}"'


def harm(db: Connection, key: tuple[str, ...] = ("id",)) -> None:
    """Ten documents go missing, ten get stale, and ten rows leave the table unseen."""
    index = generation(db)
    names = ", ".join(key)
    chosen = f"SELECT {names} FROM (SELECT {names}, row_number() OVER (ORDER BY md5(v::text)) AS n FROM items) AS s"
    db.execute(f"DELETE FROM {index} WHERE ({names}) IN ({chosen} WHERE n <= 10)")
    db.execute(
        f"UPDATE {index} SET v = -1, _reindex_version = _reindex_version - 1 WHERE ({names}) IN"
        f" ({chosen} WHERE n BETWEEN 11 AND 20)"
    )
    db.execute(f"DELETE FROM items WHERE ({names}) IN ({chosen} WHERE n BETWEEN 21 AND 30)")


def difference(db: Connection) -> list[tuple[Any, ...]]:
    """Between table and index, both ways."""
    table = "SELECT * FROM items WHERE NOT gone"
    index = "SELECT * FROM items_index"
    return db.execute(f"({table} EXCEPT {index}) UNION ALL ({index} EXCEPT {table})").fetchall()


@pytest.mark.parametrize("kind", KEYS)
def test_what_differs_is_found_exactly_and_repaired(database: Database, db: Connection, kind: str) -> None:
    """Ten missing, ten stale, ten orphans: no more and no less, whatever the key; most keys are never listed."""
    fill(db, kind)
    key = ("tenant", "id") if kind == "composite" else ("id",)
    swept = sweeper(database, key)
    swept.run.run()
    harm(db, key)

    found, done = swept.sweep()

    assert found.counts == {Difference.MISSING: 10, Difference.STALE: 10, Difference.ORPHANED: 10}
    assert all(len(keys) == 5 for keys in found.examples.values())
    assert found.indexed == ROWS - 10
    assert (done.counts, done.spared, done.rejected) == (Counts(created=10, updated=10, deleted=10), 0, ())
    assert difference(db) == []
    again, nothing = swept.sweep()
    assert (again.differences, again.listed, nothing.counts) == (0, 0, Counts())


def test_an_equal_index_lists_no_keys(swept: Sweeper, db: Connection) -> None:
    """Checksums settle it; a soft-deleted row is equal to no document."""
    fill(db)
    db.execute("UPDATE items SET gone = true WHERE id % 10 = 0")
    swept.run.run()

    found, _ = swept.sweep()

    assert (found.differences, found.listed, found.indexed) == (0, 0, ROWS * 9 // 10)
