"""A Postgres source that was replaced: what its server shows of it is remembered, and a plan says so."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.core.errors import CheckpointInvalidError
from airflow_reindex_provider.sources.postgres import PostgresSource, identity, survey
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner

STAMPED = "CREATE TABLE items (id int PRIMARY KEY, note text, v timestamptz NOT NULL DEFAULT now())"
COUNTED = "CREATE TABLE items (id int PRIMARY KEY, note text, v bigserial)"
REPLACED = {
    "made anew": "DROP TABLE items; {ddl}",
    "swapped": "ALTER TABLE items RENAME TO old; ALTER SEQUENCE IF EXISTS items_v_seq RENAME TO old_seq; {ddl}",
    "restarted": "TRUNCATE items RESTART IDENTITY",
}
SAME = [
    "VACUUM FULL items",
    "ALTER TABLE items RENAME COLUMN note TO remark; ALTER TABLE items RENAME COLUMN remark TO note",
    "ALTER TABLE items ADD COLUMN more text; ALTER TABLE items DROP COLUMN more",
    "TRUNCATE items",
]


def loaded(database: Database, ddl: str) -> tuple[Runner, psycopg.Connection[Any]]:
    db = database.connect()
    db.execute(ddl)
    db.execute("INSERT INTO items (id) SELECT n FROM generate_series(1, 5) n")
    source = PostgresSource(database.conn_id, table="items", primary_key="id", cursor_field="v")
    run = Runner(source=source, target=PostgresTarget(database.conn_id, index="items_index"))
    run.run()
    return run, db


def execute(db: psycopg.Connection[Any], statements: str) -> None:
    for statement in statements.split("; "):
        db.execute(statement)


@pytest.mark.parametrize("ddl", [STAMPED, COUNTED], ids=["time", "integer"])
def test_what_leaves_a_table_the_same_says_nothing(database: Database, ddl: str) -> None:
    """A table that is rewritten, altered, or emptied is the one that it was."""
    run, db = loaded(database, ddl)
    with db:
        for statements in SAME:
            execute(db, statements)
            assert not [w for w in run.plan().warnings if "not the one" in w], statements


@pytest.mark.parametrize("how", ["made anew", "swapped"])
def test_another_table_of_the_same_name_is_said(database: Database, how: str) -> None:
    """Rows with older stamps than the checkpoint may have come with it; the plan says so until the index is made anew."""
    run, db = loaded(database, STAMPED)
    with db:
        execute(db, REPLACED[how].format(ddl=STAMPED))
        for _ in range(2):
            assert [w for w in run.run().plan.warnings if "(table " in w and "Rebuild the index" in w]


@pytest.mark.parametrize("how", list(REPLACED))
def test_numbers_that_pass_the_checkpoint_again_are_refused(database: Database, how: str) -> None:
    """The greatest value and the sequence lie past the checkpoint, so that it is another counter is all that shows it."""
    run, db = loaded(database, COUNTED)
    with db:
        execute(db, REPLACED[how].format(ddl=COUNTED))
        db.execute("INSERT INTO items (id) SELECT n FROM generate_series(101, 120) n")
        with pytest.raises(CheckpointInvalidError, match=r"sequence \d+/\d+ instead of|table \d+ instead of"):
            run.plan()


@pytest.mark.parametrize(
    "ddl", ["AS bigint", "MAXVALUE 99999", "CACHE 2; ALTER SEQUENCE items_v_seq CACHE 1 MINVALUE 0", "START 7"]
)
def test_a_counter_that_was_altered_is_said(database: Database, ddl: str) -> None:
    """It gets another file as by a restart, and goes on counting: nothing stops, and a person says which it was."""
    run, db = loaded(database, "CREATE TABLE items (id int PRIMARY KEY, note text, v serial)")
    with db:
        execute(db, f"ALTER SEQUENCE items_v_seq {ddl}")
        db.execute("INSERT INTO items (id) VALUES (6)")
        outcome = run.run()
        assert outcome.counts.created == 1
        assert [w for w in outcome.plan.warnings if "altered" in w and "accept_changes" in w]
        execute(db, "ALTER SEQUENCE items_v_seq RESTART; TRUNCATE items")
        db.execute("INSERT INTO items (id) SELECT n FROM generate_series(101, 120) n")
        assert [w for w in run.plan().warnings if "restarted as well" in w]


def test_a_server_that_does_not_tell_is_no_error(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that are not quite Postgres lack the function, or refuse it."""
    broken = identity.IDENTITY.replace("pg_control_system", "no_such_function")
    monkeypatch.setattr(survey, "CLOCK", survey.CLOCK.replace(identity.IDENTITY, broken))
    monkeypatch.setattr(survey, "IDENTITY", broken)
    run, db = loaded(database, STAMPED)
    with db, run.source.open() as source:
        assert source.survey().identity == {}


def test_a_table_and_a_connection_may_be_renamed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server shows that it is the same table, so nobody has to say so."""
    run, db = loaded(database, STAMPED)
    monkeypatch.setenv("AIRFLOW_CONN_ANOTHER_NAME", database.uri)
    with db:
        db.execute("ALTER TABLE items RENAME TO goods")
        run.source = PostgresSource("another_name", table="public.goods", primary_key="id", cursor_field="v")
        outcome = run.run()
        assert not [w for w in outcome.plan.warnings if "not the one" in w]
