"""A sweep that compares content finds rows that were changed without their cursor field, and only these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.core.errors import TooManyDeletesError
from airflow_reindex_provider.core.model import Counts, Transform
from airflow_reindex_provider.core.sweeping.records import Compare, Difference
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.search_engine import SearchEngine
from airflow_reindex_provider.testing.sweeps import Sweeper

Connection = psycopg.Connection[Any]
ROWS = 5_000


@pytest.fixture
def db(database: Database) -> Iterator[Connection]:
    """Rows of many types, some of them NULL, none changed since yesterday."""
    with database.connect() as connection:
        connection.execute(
            "CREATE TYPE colour AS ENUM ('red', 'blue');"
            "CREATE TABLE items (id int PRIMARY KEY, a text, b text, n numeric(10, 2), f real, at timestamp, raw bytea,"
            " doc json, docs jsonb, list int[], hue colour, fixed char(5), wait interval, updated_at timestamptz NOT NULL)"
        )
        connection.execute(
            "INSERT INTO items SELECT n, nullif('a' || n %% 7, 'a0'), 'b', n / 3.0, n / 3.0, now() - n * interval '1 s',"
            " decode(md5(n::text), 'hex'), '{\"b\": 1,  \"a\": null}', '{\"b\": 1, \"a\": null}', ARRAY[n, NULL], 'red',"
            " 'x', n * interval '1 month', now() - interval '1 d' + n * interval '1 ms' FROM generate_series(1, %s) AS n",
            [ROWS],
        )
        connection.execute("CREATE INDEX ON items (updated_at, id)")
        yield connection


def sweeper(
    database: Database, transform: Transform | None = None, columns: Mapping[str, str] | None = None
) -> Sweeper:
    run = Runner(
        source=PostgresSource(
            database.conn_id, table="items", primary_key="id", cursor_field="updated_at", margin=timedelta(0)
        ),
        target=PostgresTarget(database.conn_id, index="items_index", columns=columns or {}),
        transform=transform,
        sizes=Sizes(batch_rows=2_500, max_batches=64),
    )
    run.run()
    return Sweeper(run=run, what=Compare.CONTENT)


DECLARED = {
    "n": "text",
    "f": "double precision",
    "at": "timestamp(0) without time zone",
    "list": "text[]",
    "docs": "json",
}
WAYS = [
    pytest.param(None, {}, id="copied"),
    pytest.param(None, DECLARED, id="declared"),
    pytest.param(lambda row: {**row, "b": f"{row['b']}!"}, {}, id="transformed"),
]


@pytest.mark.parametrize(("transform", "columns"), WAYS)
def test_changed_rows_are_found_exactly_and_repaired(
    database: Database, db: Connection, transform: Transform | None, columns: Mapping[str, str]
) -> None:
    """Whatever column it is, and also where a NULL or a border between two texts is all that moved."""
    swept = sweeper(database, transform, columns)
    assert swept.sweep()[0].differences == 0
    changes = [
        "a = 'other'",
        "a = NULL, b = 'a3b'",
        "a = 'a4b', b = ''",
        "n = n + 1",
        "f = -f",
        "at = at + interval '1 h'",
        "raw = ''",
        "doc = '{\"b\": 2}'",
        "docs = '[]'",
        "list = ARRAY[1]",
        "hue = 'blue'",
        "fixed = 'y'",
        "wait = '1 day'",
    ]
    for number, change in enumerate(changes):
        db.execute(f"UPDATE items SET {change} WHERE id = {100 * (number + 1) + 1}")  # type: ignore[call-overload]
    assert Sweeper(run=swept.run).sweep()[0].differences == 0

    found, done = swept.sweep()

    assert found.counts == {Difference.CHANGED: len(changes)}
    assert done.counts == Counts(updated=len(changes))
    assert swept.sweep()[0].differences == 0
    assert db.execute("SELECT fixed FROM items_index WHERE id = 1201").fetchall() == [("y",)]


def test_an_equal_index_is_settled_by_checksums(database: Database, db: Connection) -> None:
    """No row is listed; of one that differs, its part alone."""
    swept = sweeper(database)
    assert swept.sweep()[0].listed == 0
    db.execute("UPDATE items SET b = 'c' WHERE id = 1")
    assert 0 < swept.sweep()[0].listed <= 2_500


def test_the_other_differences_are_found_too(database: Database, db: Connection) -> None:
    """In one and the same sweep."""
    swept = sweeper(database)
    generation = swept.run.plan().generation
    db.execute(f"DELETE FROM {generation} WHERE id = 1")  # type: ignore[call-overload]
    db.execute(f"UPDATE {generation} SET _reindex_version = _reindex_version - 1 WHERE id = 2")  # type: ignore[call-overload]
    db.execute("DELETE FROM items WHERE id = 3")
    db.execute("UPDATE items SET b = 'c' WHERE id IN (4, 2501)")
    found, done = swept.sweep()
    assert found.counts == {
        Difference.MISSING: 1,
        Difference.STALE: 1,
        Difference.ORPHANED: 1,
        Difference.CHANGED: 2,
    }
    assert (done.counts.processed, swept.sweep()[0].differences) == (5, 0)


def test_more_changes_than_are_held_at_once(database: Database, db: Connection) -> None:
    """All of them: a column was filled by a migration that left the cursor field alone."""
    swept = sweeper(database)
    db.execute("UPDATE items SET b = 'migrated'")
    found, done = swept.sweep()
    assert (found.counts, done.counts) == ({Difference.CHANGED: ROWS}, Counts(updated=ROWS))
    assert swept.sweep()[0].differences == 0


def test_a_changed_transform_is_found(database: Database, db: Connection) -> None:
    """Documents are compared with what the transform makes now; what it drops by now counts as orphaned, under the cap."""
    swept = sweeper(database, lambda row: row)
    swept.run.transform = lambda row: None if row["id"] <= 3 else {**row, "b": "new"} if row["id"] == 4 else row
    found, done = swept.sweep()
    assert found.counts == {Difference.ORPHANED: 3, Difference.CHANGED: 1}
    assert done.counts == Counts(updated=1, deleted=3)
    assert swept.sweep()[0].differences == 0
    swept.run.transform = lambda row: None
    with pytest.raises(TooManyDeletesError):
        swept.sweep()


def test_a_transform_that_raises_is_told(database: Database, db: Connection) -> None:
    """As in a run, with the key and the reason."""

    def broken(row: dict[str, Any]) -> dict[str, Any]:
        if row["id"] == 7:
            raise ValueError("no")
        return row

    swept = sweeper(database, lambda row: row)
    swept.run.transform = broken
    found, done = swept.sweep()
    assert found.counts == {Difference.CHANGED: 1}
    assert [r.key for r in done.rejected] == [("7",)]


def test_a_type_that_the_source_does_not_have(database: Database, db: Connection) -> None:
    """An index on another server may have an extension's type: documents are compared one by one then."""
    db.execute("CREATE EXTENSION vector")
    db.execute("ALTER TABLE items ADD place text DEFAULT '[1,2]'")
    swept = sweeper(database, columns={"place": "vector(2)"})
    assert swept.sweep()[0].differences == 0
    db.execute("UPDATE items SET place = '[3,4]' WHERE id = 9")
    found, _ = swept.sweep()
    assert (found.counts, found.listed) == ({Difference.CHANGED: 1}, ROWS)


def test_a_search_engine(database: Database, db: Connection, opensearch: SearchEngine) -> None:
    """Computes no checksums: every row is read, and the documents are compared."""
    swept = sweeper(database)
    swept.run = Runner(source=swept.run.source, target=OpenSearchTarget(opensearch.name, index="content"))
    swept.run.run()
    assert swept.sweep()[0].differences == 0
    db.execute("UPDATE items SET b = 'c', n = n + 1 WHERE id IN (4, 2501)")
    found, done = swept.sweep()
    assert (found.counts, done.counts) == ({Difference.CHANGED: 2}, Counts(updated=2))
    assert swept.sweep()[0].differences == 0
