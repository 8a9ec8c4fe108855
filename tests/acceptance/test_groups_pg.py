"""Groups on a real Postgres: they appear, rows move between them under writers, they are emptied, and fail alone."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from clean_ups import CleanUps, leased
from rebuilding_load import beside
from storms import tries

from airflow_reindex_provider import ChangesSensor, PostgresSource, PostgresTarget, Stream
from airflow_reindex_provider.core.errors import BatchesFailedError, ConfigurationError
from airflow_reindex_provider.core.groups import known_groups
from airflow_reindex_provider.core.model import Mode
from airflow_reindex_provider.core.running.settling_groups import require_all
from airflow_reindex_provider.core.sweeping.records import Difference
from airflow_reindex_provider.core.windows import Request
from airflow_reindex_provider.testing.groups import GroupRunner
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.sweeps import Sweeper

Connection = psycopg.Connection[Any]
TENANTS = ("acme", "Acme", "a/b", "a b", "", "größe", "'; DROP TABLE items; --", "x" * 200, "x" * 201, "first")


@pytest.fixture
def db(database: Database) -> Iterator[Connection]:
    with database.connect() as connection:
        connection.execute(
            "CREATE TABLE items (id int PRIMARY KEY, tenant text, body text, gone boolean NOT NULL DEFAULT false,"
            " updated_at timestamptz NOT NULL DEFAULT now())"
        )
        connection.execute("CREATE INDEX ON items (updated_at, id)")
        yield connection


@pytest.fixture(params=["with its index", "without"])
def run(database: Database, db: Connection, request: pytest.FixtureRequest) -> GroupRunner:
    if request.param == "with its index":
        db.execute("CREATE INDEX ON items (tenant, updated_at, id)")
    return GroupRunner(
        stream=Stream(
            name="items",
            source=PostgresSource(
                database.conn_id,
                table="items",
                primary_key="id",
                cursor_field="updated_at",
                soft_delete_column="gone",
                group_by="tenant",
                margin=timedelta(0),
            ),
            target=PostgresTarget(database.conn_id, index="items_{group}", chunk_rows=7),
            batch_size=20,
            max_batches=16,
        )
    )


def view(run: GroupRunner, value: str) -> str:
    target = run.stream.of_group(value).target
    assert isinstance(target, PostgresTarget)
    return target.index


def rows(db: Connection, name: str) -> list[tuple[Any, ...]]:
    return db.execute(
        psycopg.sql.SQL("SELECT id, body FROM {} ORDER BY id").format(psycopg.sql.Identifier(name))
    ).fetchall()


def require_true(run: GroupRunner, db: Connection) -> None:
    """Every group's index is its rows, and no other."""
    for value in known_groups("items", run.store):
        at_source = db.execute(
            "SELECT id, body FROM items WHERE tenant = %s AND NOT gone ORDER BY id", [value]
        ).fetchall()
        assert rows(db, view(run, value)) == at_source, value


def stored_rows(db: Connection, generation: str) -> int:
    """Documents and remembered deletions."""
    found = db.execute(psycopg.sql.SQL("SELECT count(*) FROM {}").format(psycopg.sql.Identifier(generation))).fetchone()
    assert found is not None
    return int(found[0])


def test_groups_of_any_value_get_an_index_each(run: GroupRunner, db: Connection) -> None:
    """Whatever the value is, it has an index of its own, a name that Postgres takes, and is bound as a value in SQL. A first
    load of a group stores nothing of the others. Rows without a group are counted, and in no index."""
    for tenant in TENANTS:
        db.execute(
            "INSERT INTO items SELECT (SELECT count(*) FROM items) + n, %s, 'x' FROM generate_series(1, 25) n", [tenant]
        )
    db.execute("INSERT INTO items SELECT 1000 + n, NULL, 'x' FROM generate_series(1, 3) n")
    outcome = run.run()
    require_all(outcome)
    assert outcome.plans.nulls == 3
    assert known_groups("items", run.store) == tuple(sorted(TENANTS))
    assert len({view(run, tenant) for tenant in TENANTS}) == len(TENANTS)
    assert {stored_rows(db, plan.generation) for plan in outcome.plans.plans} == {25}
    require_true(run, db)
    assert run.run().counts.processed == 0


def test_a_row_that_moves_leaves_the_old_index(run: GroupRunner, db: Connection) -> None:
    """To another group, to one that there was not, and to none; the group whose last row has left has an empty index."""
    db.execute("INSERT INTO items SELECT n, CASE WHEN n < 9 THEN 'a' ELSE 'b' END, 'x' FROM generate_series(1, 9) n")
    require_all(run.run())
    db.execute(
        "UPDATE items SET tenant = CASE id WHEN 9 THEN 'new' WHEN 8 THEN NULL ELSE 'b' END, updated_at = now() WHERE id > 6"
    )
    require_all(run.run())
    assert rows(db, "items_b") == [(7, "x")]
    assert rows(db, "items_new") == [(9, "x")]
    require_true(run, db)
    db.execute("UPDATE items SET tenant = 'b', updated_at = now()")
    require_all(run.run())
    assert rows(db, "items_a") == []
    assert rows(db, "items_new") == []
    require_true(run, db)


def test_a_failed_first_load_forgets_no_row_that_leaves(run: GroupRunner, db: Connection) -> None:
    """The first batch of a first load fails, a later one is written; one of its rows moves away before the next run, which
    takes it out again."""
    db.execute("INSERT INTO items SELECT n, 'a', 'x' FROM generate_series(1, 60) n")
    plans = run.plan()
    assert [batch.fresh for batch in plans.batches] == [True] * 3
    run.settle(plans, [run.of_group("a").index(batch) for batch in plans.batches[1:]])
    db.execute("UPDATE items SET tenant = 'b', updated_at = now() WHERE id = 60")
    require_all(run.run())
    assert len(rows(db, "items_a")) == 59
    require_true(run, db)


def test_a_group_that_fails_stops_no_other(run: GroupRunner, db: Connection) -> None:
    """A batch of one group fails, another group's index is in the way of a table: both are named with the reason, the rest
    is indexed and settled, and the next run makes up for what is mended."""
    db.execute("INSERT INTO items SELECT n, chr(97 + n % 4), 'x' FROM generate_series(1, 40) n")
    db.execute("CREATE TABLE items_d (id int)")
    plans = run.plan()
    assert list(plans.failures) == ["d"]
    outcome = run.settle(plans, [r for r in run.index(plans) if r.batch.group != "b"])
    with pytest.raises(BatchesFailedError, match=r"(?s)2 of 4 groups failed: 'd', 'b'.*there is a table of this name"):
        require_all(outcome)
    assert len(rows(db, "items_a")) == len(rows(db, "items_c")) == 10
    by_group = {str(o.plan.group): o.checkpoint_after for o in outcome.outcomes}
    assert by_group["a"] is not None
    assert by_group["b"] is None
    db.execute("DROP TABLE items_d")
    require_all(run.run())
    require_true(run, db)


@pytest.mark.storm
def test_moves_under_writers(run: GroupRunner, db: Connection, database: Database) -> None:
    """Three writers insert, change, delete and move rows between groups, in transactions of their own, while runs, backfills
    and rebuilds and clean-ups go on; in the end every index is its group's rows."""
    db.execute("INSERT INTO items SELECT n, chr(97 + n % 3), 'x' FROM generate_series(1, 300) n")
    over = threading.Event()

    def write(seed: int) -> None:
        chance = random.Random(seed)
        with database.connect() as connection:
            while not over.wait(0.01):
                with connection.transaction():
                    for _ in range(chance.randrange(4)):
                        connection.execute(
                            "INSERT INTO items VALUES (%(id)s, %(tenant)s, %(body)s) ON CONFLICT (id) DO UPDATE SET"
                            " tenant = excluded.tenant, body = excluded.body, gone = %(gone)s, updated_at = now()",
                            {
                                "id": seed * 1000 + chance.randrange(200),
                                "tenant": chance.choice("abcdef") if chance.random() < 0.9 else None,
                                "body": str(chance.random()),
                                "gone": chance.random() < 0.2,
                            },
                        )

    cleaning = CleanUps(replace(run.stream, checkpoint=run.store), retain=1)
    with beside(over, *(lambda seed=seed: write(seed) for seed in range(3)), lambda: cleaning.run(over, pause_s=0.3)):
        for number in range(tries(4, of=12)):
            backfill = run.plan(Request(Mode.BACKFILL, "2020-01-01")) if number % 4 == 3 else None
            require_all(run.run())
            if backfill is not None:
                run.settle(backfill, run.index(backfill))
                # What is deleted and what has moved meanwhile makes a group smaller, for good reasons.
                with leased(run.store, run.of_group("b").stream):
                    Rebuilder(run=run.of_group("b"), min_size_ratio=0).rebuild(f"20260601t{number:06d}")
        cleaning.wait_for_a_whole_one()
    assert cleaning.dropped == []
    require_all(run.run())
    assert known_groups("items", run.store) == tuple("abcdef")
    require_true(run, db)


def test_a_rebuild_copies_the_rows_of_the_group_alone(run: GroupRunner, db: Connection) -> None:
    """The new generation holds nothing of the others, and is verified against the group's rows, sample included; a try that
    finds the generation made reads all, since it cannot know what another one has written."""
    db.execute("INSERT INTO items SELECT n, CASE WHEN n < 41 THEN 'a' ELSE 'b' END, 'x' FROM generate_series(1, 400) n")
    require_all(run.run())
    rebuild = Rebuilder(run=run.of_group("a"))
    plan = rebuild.begin("20990101t000001")
    assert (plan.rows, {batch.fresh for batch in plan.batches}) == (40, {True})
    rebuild.copy(plan)
    rebuild.catch_up(plan.generation)
    checked = rebuild.verify(plan.generation)
    assert (checked.documents, checked.rows, checked.sampled) == (40, 40, 39)
    rebuild.promote(plan.generation)
    assert stored_rows(db, plan.generation) == 40
    require_true(run, db)
    rebuild.begin("20990101t000002")
    again = rebuild.begin("20990101t000002")
    assert (again.rows, {batch.fresh for batch in again.batches}) == (400, {False})


def test_a_sweep_judges_the_rows_of_the_group_alone(run: GroupRunner, db: Connection) -> None:
    """Of a group's index it finds what is missing, what was deleted outright, and what a hand has put there from another group;
    the rows of the others are no business of its."""
    db.execute("INSERT INTO items SELECT n, CASE WHEN n < 41 THEN 'a' ELSE 'b' END, 'x' FROM generate_series(1, 400) n")
    plans = run.run().plans
    generation = next(plan.generation for plan in plans.plans if plan.group == "a")
    db.execute("DELETE FROM items WHERE id = 7")
    db.execute(f"DELETE FROM {generation} WHERE id = 8")
    db.execute(f"UPDATE {generation} SET id = 399 WHERE id = 9")
    found, done = Sweeper(run=run.of_group("a"), max_delete_fraction=0.1).sweep()
    assert {d: found.count(d) for d in Difference if found.count(d)} == {Difference.MISSING: 2, Difference.ORPHANED: 2}
    assert (done.counts.created, done.counts.deleted) == (2, 2)
    require_true(run, db)
    again, _ = Sweeper(run=run.of_group("a")).sweep()
    assert (again.differences, again.indexed, again.listed) == (0, 39, 0)


def test_a_column_whose_values_have_several_texts_is_refused(run: GroupRunner, db: Connection) -> None:
    """1 and 1.0 are one numeric: such a group would change its name."""
    db.execute("ALTER TABLE items ALTER tenant TYPE numeric USING 1")
    with pytest.raises(ConfigurationError, match="is a numeric; it must be"):
        run.run()


@pytest.mark.parametrize("kind", ["integer", "uuid", "boolean", "date", "char(40)", "mood"])
def test_columns_of_other_types(run: GroupRunner, db: Connection, kind: str) -> None:
    """The value's text is the group, and a comparison in the column's own type finds its rows."""
    db.execute("CREATE TYPE mood AS ENUM ('Very good', 'bad')")
    values = {
        "integer": ["-1", "42"],
        "uuid": ["550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440001"],
        "boolean": ["false", "true"],
        "date": ["2026-01-01", "2026-01-02"],
        "char(40)": ["a", "b c"],
        "mood": ["Very good", "bad"],
    }[kind]
    db.execute(f"ALTER TABLE items ALTER tenant TYPE {kind} USING NULL::{kind}")
    for number, value in enumerate(values):
        db.execute(f"INSERT INTO items VALUES ({number}, %s::{kind}, 'x')", [value])
    require_all(run.run())
    assert sorted(known_groups("items", run.store)) == sorted(values)
    assert [rows(db, view(run, value)) for value in values] == [[(0, "x")], [(1, "x")]]


def test_a_dry_run_makes_nothing(run: GroupRunner, db: Connection) -> None:
    """It counts each group's rows, and remembers no group."""
    db.execute("INSERT INTO items SELECT n, CASE WHEN n < 31 THEN 'a' ELSE 'b' END, 'x' FROM generate_series(1, 40) n")
    plans = run.plan(Request(dry_run=True))
    assert {plan.group: plan.rows for plan in plans.plans} == {"a": 30, "b": 10}
    assert known_groups("items", run.store) == ()
    assert db.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'items\\_%_2%'").fetchone() == (0,)


def test_a_transform_gets_the_rows_of_its_group(run: GroupRunner, db: Connection) -> None:
    """Through the rows format, which tells deletions apart as well."""
    run.stream = replace(run.stream, transform=lambda row: row | {"body": row["tenant"]})
    db.execute("INSERT INTO items SELECT n, CASE WHEN n < 4 THEN 'a' ELSE 'b' END, 'x' FROM generate_series(1, 6) n")
    require_all(run.run())
    db.execute("UPDATE items SET tenant = 'b', updated_at = now() WHERE id = 3")
    require_all(run.run())
    assert rows(db, "items_a") == [(1, "a"), (2, "a")]
    assert rows(db, "items_b") == [(n, "b") for n in range(3, 7)]


def test_the_sensor_waits_for_the_group_furthest_behind(run: GroupRunner, db: Connection) -> None:
    """There are changes as long as one group has not read them, also if all others have; and for a new group's rows."""
    sensor = ChangesSensor(task_id="changes", stream=replace(run.stream, checkpoint=run.store), deferrable=False)
    assert not sensor.poke({})
    db.execute("INSERT INTO items SELECT n, CASE WHEN n < 4 THEN 'a' ELSE 'b' END, 'x' FROM generate_series(1, 6) n")
    assert sensor.poke({})
    require_all(run.run())
    assert not sensor.poke({})
    db.execute("UPDATE items SET body = 'y', updated_at = now() WHERE id = 1")
    plans = run.plan()
    run.settle(plans, [result for result in run.index(plans) if result.batch.group == "a"])
    assert sensor.poke({})
    require_all(run.run())
    assert not sensor.poke({})
    db.execute("INSERT INTO items VALUES (7, 'new', 'x')")
    assert sensor.poke({})
