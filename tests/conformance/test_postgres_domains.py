"""A domain over a type is taken as the type, whatever domains lie between: as cursor, as key, as group, in every format."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Mode
from airflow_reindex_provider.core.windows import Request
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper

CURSORS = {
    "timestamptz": "now()",
    "timestamptz(3)": "now()",
    "timestamp": "now()",
    "date": "current_date - 1",
    "smallint": "7",
    "int": "7",
    "bigint": "7",
    "xid8": "pg_current_xact_id()",
}
KEYS = ("int", "bigint", "text", "varchar(9)", "char(9)", "uuid", "numeric", "date", "timestamptz")
VALUES = {
    **dict.fromkeys(("int", "bigint", "numeric"), ("1", "2")),
    **dict.fromkeys(("text", "varchar(9)", "char(9)"), ("a", "b c")),
    "uuid": ("00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"),
    **dict.fromkeys(("date", "timestamptz"), ("2026-01-01", "2026-01-02")),
    "mood": ("sad", "glad"),
    "boolean": ("true", "false"),
}


@pytest.fixture
def db(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with database.connect() as connection:
        connection.execute("CREATE TYPE mood AS ENUM ('sad', 'glad')")
        yield connection


def nest(db: psycopg.Connection[Any], type: str, check: str = "true") -> None:
    """``outer`` is a domain over a domain over the type."""
    db.execute(f"CREATE DOMAIN inside AS {type} CHECK ({check}); CREATE DOMAIN outside AS inside")


def runner(database: Database, **options: Any) -> Runner:
    given = {"primary_key": "id", "cursor_field": "at", "margin": timedelta(0), "table": "public.items", **options}
    if "query" in given:
        del given["table"]
    return Runner(
        source=PostgresSource(database.conn_id, **given), target=PostgresTarget(database.conn_id, index="items_index")
    )


def differences(run: Runner) -> int:
    report, _ = Sweeper(run=run, max_delete_fraction=1.0).sweep()
    return report.differences


@pytest.mark.parametrize("how", ["pg_copy", "rows", "query"])
@pytest.mark.parametrize("type", CURSORS)
def test_a_cursor(database: Database, db: psycopg.Connection[Any], type: str, how: str) -> None:
    """Runs, a backfill, an incremental run from the checkpoint, and a sweep that finds nothing to mend. The domain may refuse
    values that only a window's bounds have."""
    nest(db, type, "VALUE > 0" if type in ("smallint", "int", "bigint") else "true")
    db.execute(
        f"CREATE TABLE items (id int PRIMARY KEY, at outside DEFAULT {CURSORS[type]}); CREATE INDEX ON items (at, id)"
    )
    db.execute("INSERT INTO items VALUES (1)")
    options: dict[str, Any] = {"query": "SELECT * FROM items"} if how == "query" else {}
    if type in ("timestamp", "date"):
        options["cursor_timezone"] = "UTC"
    run = runner(database, **options)
    if how == "rows":
        run.transform = lambda document: document
    time.sleep(0.01)
    assert run.run().counts.created == 1
    if type not in ("smallint", "int", "bigint", "date"):
        db.execute("INSERT INTO items VALUES (2)")
        time.sleep(0.01)
        assert run.run().counts.created == 1
    if type in ("smallint", "int", "bigint"):
        assert run.run(Request(Mode.BACKFILL, "-5", "8")).counts.processed == 1
    assert differences(run) == 0


@pytest.mark.parametrize("type", KEYS)
def test_a_key(database: Database, db: psycopg.Connection[Any], type: str) -> None:
    """Goes through a run in chunks, a checkpoint with a key, and a sweep."""
    nest(db, type)
    db.execute("CREATE TABLE items (id outside PRIMARY KEY, at timestamptz DEFAULT now())")
    for value in VALUES[type]:
        db.execute("INSERT INTO items VALUES (%s)", [value])
    run = runner(database)
    run.chunk_rows = 1
    assert run.run().counts.created == 2
    assert differences(run) == 0


@pytest.mark.parametrize("type", ["text", "varchar(9)", "char(9)", "int", "uuid", "boolean", "date"])
def test_a_group(database: Database, db: psycopg.Connection[Any], type: str) -> None:
    """Its values are those of the type."""
    nest(db, type)
    db.execute("CREATE TABLE items (id serial PRIMARY KEY, kind outside, at timestamptz DEFAULT now())")
    for value in VALUES[type]:
        db.execute("INSERT INTO items (kind) VALUES (%s)", [value])
    first = VALUES[type][0]
    assert runner(database, group_by="kind", group=first).run().counts.created == 1


@pytest.mark.parametrize("type", ["text", "numeric", "timestamptz[]", "tstzrange", "mood"])
def test_a_domain_over_something_else(database: Database, db: psycopg.Connection[Any], type: str) -> None:
    """Is no cursor, and the message has the domain's name and the types that are."""
    nest(db, type)
    db.execute("CREATE TABLE items (id int PRIMARY KEY, at outside)")
    with pytest.raises(
        ConfigurationError, match=r"'at' is a outside; it must be a timestamptz.* domain over one of these"
    ):
        runner(database).run()


@pytest.mark.parametrize(
    "options", [{"primary_key": "mood"}, {"group_by": "mood", "group": "sad"}], ids=lambda o: min(o)
)
def test_a_domain_over_an_enum(database: Database, db: psycopg.Connection[Any], options: dict[str, Any]) -> None:
    """Has no values that Postgres compares; cast to the enum it can be both."""
    nest(db, "mood")
    db.execute("CREATE TABLE items (mood outside PRIMARY KEY, id int UNIQUE NOT NULL, at timestamptz DEFAULT now())")
    db.execute("INSERT INTO items VALUES ('sad', 1)")
    with pytest.raises(ConfigurationError, match=r"names 'mood', a outside.*Make the column a mood"):
        runner(database, **options).run()
    query = "SELECT mood::mood, id, at FROM items"
    assert runner(database, query=query, **options).run().counts.created == 1
