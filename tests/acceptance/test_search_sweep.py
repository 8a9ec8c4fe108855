"""A sweep of a real search engine finds what differs and repairs it; a rebuild ends equal to the table, and rolls back."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.core.bulk import document_id
from airflow_reindex_provider.core.errors import TooManyDeletesError, VerificationError
from airflow_reindex_provider.core.model import Counts
from airflow_reindex_provider.core.sweeping.records import Difference
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.elasticsearch import ElasticsearchTarget
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.search_engine import SearchEngine
from airflow_reindex_provider.testing.sweeps import Sweeper

Connection = psycopg.Connection[Any]
TARGETS = {"opensearch": OpenSearchTarget, "elasticsearch": ElasticsearchTarget}
ROWS = 3_000
KEYS = {
    "integer": ("id bigint", "n"),
    "uuid": ("id uuid", "md5(n::text)::uuid"),
    "text": ("id text", "(ARRAY['Ä', 'a', 'B', 'é ', 'z''s \\', E'\\t', '😀', '%s'])[1 + n % 8] || n"),
    "composite": ("tenant text, id int", "'Tenant|' || n % 7, n"),
}
_numbers = itertools.count(1)


@pytest.fixture(params=sorted(TARGETS))
def engine(request: pytest.FixtureRequest) -> SearchEngine:
    engine: SearchEngine = request.getfixturevalue(request.param)
    return engine


@pytest.fixture
def db(database: Database) -> Iterator[Connection]:
    with database.connect() as connection:
        yield connection


def runner(database: Database, engine: SearchEngine, key: tuple[str, ...]) -> Runner:
    source = PostgresSource(
        database.conn_id,
        table="items",
        primary_key=key,
        cursor_field="updated_at",
        soft_delete_column="gone",
        margin=timedelta(0),
    )
    target = TARGETS[engine.name](engine.name, index=f"items-{next(_numbers)}")
    return Runner(source=source, target=target, sizes=Sizes(batch_rows=1_000))


def fill(db: Connection, kind: str = "integer") -> tuple[str, ...]:
    """A table of some rows, whose cursor values lie one second apart, up to a minute ago. Returns its key."""
    columns, value = KEYS[kind]
    key = tuple(column.split()[0] for column in columns.split(", "))
    names = ", ".join(key)
    db.execute(
        f"CREATE TABLE items ({columns}, v int, gone boolean NOT NULL DEFAULT false,"
        f" updated_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY ({names}))"
    )
    db.execute(
        f"INSERT INTO items ({names}, v, updated_at) SELECT {value}, n, now() - (1 + n) * interval '1 s'"
        f" FROM generate_series(1, {ROWS}) AS n"
    )
    return key


def harm(db: Connection, kind: str) -> None:
    """Below the checkpoint, where no run looks again: ten rows appear, ten change, ten leave."""
    columns, value = KEYS[kind]
    names = ", ".join(column.split()[0] for column in columns.split(", "))
    db.execute(
        f"INSERT INTO items ({names}, v, updated_at) SELECT {value}, n, now() - interval '1 day'"
        f" FROM generate_series({ROWS + 1}, {ROWS + 10}) AS n"
    )
    db.execute("UPDATE items SET v = -v, updated_at = updated_at + interval '0.5 s' WHERE v BETWEEN 11 AND 20")
    db.execute("DELETE FROM items WHERE v BETWEEN 21 AND 30")


def table(db: Connection, key: tuple[str, ...]) -> dict[str, int]:
    rows = db.execute(f"SELECT v, {', '.join(f'{name}::text' for name in key)} FROM items WHERE NOT gone").fetchall()
    return {document_id(tuple(names)): v for v, *names in rows}


def index(engine: SearchEngine, run: Runner) -> dict[str, int]:
    found = engine.documents(run.target.index)
    assert found is not None
    return {id: source["v"] for id, source in found.items()}


@pytest.mark.parametrize("kind", KEYS)
def test_what_differs_is_found_exactly_and_repaired(
    engine: SearchEngine, database: Database, db: Connection, kind: str
) -> None:
    """Ten missing, ten stale, ten orphans, no more and no less, whatever the key; and then nothing."""
    key = fill(db, kind)
    swept = Sweeper(run=runner(database, engine, key))
    swept.run.run()
    harm(db, kind)

    found, done = swept.sweep()

    assert found.counts == {Difference.MISSING: 10, Difference.STALE: 10, Difference.ORPHANED: 10}
    assert (done.counts, done.spared, done.rejected) == (Counts(created=10, updated=10, deleted=10), 0, ())
    assert index(engine, swept.run) == table(db, key)
    again, nothing = swept.sweep()
    assert (again.differences, nothing.counts) == (0, Counts())


def test_an_emptied_table_does_not_empty_the_index(engine: SearchEngine, database: Database, db: Connection) -> None:
    """More orphans than the cap allows: nothing is deleted."""
    key = fill(db)
    swept = Sweeper(run=runner(database, engine, key))
    swept.run.run()
    before = index(engine, swept.run)
    db.execute("TRUNCATE items")

    with pytest.raises(TooManyDeletesError):
        swept.sweep()
    assert index(engine, swept.run) == before


def test_a_rebuild_loses_no_write_and_rolls_back(engine: SearchEngine, database: Database, db: Connection) -> None:
    """Rows that change during the copy are in the new index when the alias moves, and in the old one when it moves back."""
    key = fill(db)
    run = runner(database, engine, key)
    first = run.run().plan.generation
    rebuilt = Rebuilder(run=run)

    plan = rebuilt.begin("20270101t000000")
    rebuilt.copy(plan)
    db.execute("UPDATE items SET v = -7, updated_at = now() WHERE v = 7")
    db.execute("UPDATE items SET gone = true, updated_at = now() WHERE v = 8")
    run.run()
    rebuilt.catch_up(plan.generation)
    checked = rebuilt.verify(plan.generation)
    assert (checked.documents, checked.rows, checked.sampled > 90) == (ROWS - 1, ROWS, True)
    assert set(engine.call("GET", f"/_alias/{run.target.index}")) == {first}
    rebuilt.promote(plan.generation)
    assert set(engine.call("GET", f"/_alias/{run.target.index}")) == {plan.generation}
    assert index(engine, run) == table(db, key)
    assert rebuilt.retire() == ()

    db.execute("UPDATE items SET v = -9, updated_at = now() WHERE v = 9")
    run.run()
    assert rebuilt.rollback() == first
    assert set(engine.call("GET", f"/_alias/{run.target.index}")) == {first}
    assert index(engine, run) == table(db, key)


def test_what_a_transform_takes_out_is_not_missing(engine: SearchEngine, database: Database, db: Connection) -> None:
    """The engines do not list what was deleted, so the check runs the transform over rows without a document; a row that should
    have one stops the rebuild."""
    key = fill(db)
    run = runner(database, engine, key)
    run.transform = lambda row: row if row["v"] % 3 else None
    run.run()
    rebuilt = Rebuilder(run=run)
    generation = rebuilt.rebuild("20270101t000000")
    assert set(engine.call("GET", f"/_alias/{run.target.index}")) == {generation}
    assert index(engine, run) == {id: v for id, v in table(db, key).items() if v % 3}

    plan = rebuilt.begin("20270102t000000")
    rebuilt.copy(plan)
    engine.call("DELETE", f"/{plan.generation}/_doc/7")
    with pytest.raises(VerificationError, match=rf"of {ROWS:,} rows of the source 1 are missing"):
        rebuilt.verify(plan.generation)


def test_a_value_that_differs_stops_a_rebuild(engine: SearchEngine, database: Database, db: Connection) -> None:
    """Documents that are not what their rows say, with the right versions: the check names the field."""
    key = fill(db)
    run = runner(database, engine, key)
    run.run()
    rebuilt = Rebuilder(run=run)
    plan = rebuilt.begin("20270101t000000")
    run.transform = lambda row: {**row, "v": row["v"] + 1}
    rebuilt.copy(plan)
    run.transform = None

    with pytest.raises(VerificationError, match="field 'v'"):
        rebuilt.verify(plan.generation)


def test_a_key_that_is_written_otherwise_by_now_is_one_document(
    database: Database, db: Connection, engine: SearchEngine
) -> None:
    """An engine knows a document by its text, so it has two until a sweep: with 1.00 for 1.0 and a cursor that moved, or not."""
    db.execute(
        "CREATE TABLE items (id numeric PRIMARY KEY, gone boolean, updated_at timestamptz NOT NULL DEFAULT now())"
    )
    db.execute("INSERT INTO items (id) VALUES (1.0), (2.0), (3.0), (7)")
    run = runner(database, engine, ("id",))
    run = replace(run, target=replace(run.target, mappings={"properties": {"id": {"type": "keyword"}}}))
    run.run()
    db.execute("UPDATE items SET id = 1.00, updated_at = clock_timestamp() WHERE id = 1")
    run.run()
    db.execute(
        "UPDATE items SET id = 2.00 WHERE id = 2; DELETE FROM items WHERE id = 3; INSERT INTO items (id) VALUES (3.00)"
    )
    sweeper = Sweeper(run=run, max_delete_fraction=1.0)

    found, done = sweeper.sweep()
    run.run()

    assert found.counts == {Difference.ORPHANED: 3, Difference.MISSING: 1}
    assert (done.counts.deleted, done.counts.failures, done.spared) == (2, 0, 1)
    found, done = sweeper.sweep()
    assert (found.counts, done.counts.deleted) == ({Difference.ORPHANED: 1}, 1)
    assert sweeper.sweep()[0].counts == {}
    answer = engine.call("POST", f"/{run.target.index}/_search", {"size": 10})
    assert sorted(hit["_id"] for hit in answer["hits"]["hits"]) == ["1.00", "2.00", "3.00", "7"]
