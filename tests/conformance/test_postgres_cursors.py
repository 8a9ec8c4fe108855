"""A cursor value that Postgres has written is read as the version that it computes of it: every type, over all of its range."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.model import Mode
from airflow_reindex_provider.core.windows import Request, Sizes
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.sources.postgres.sql import VERSIONS
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper

LEAST = "'4714-11-24 BC'"
# Of a timestamp a version holds all but the last few days of the last years.
SPANS = {
    CursorType.TIMESTAMPTZ: (f"{LEAST}::timestamp AT TIME ZONE 'UTC'", "timestamptz '294246-12-31 23:59:59.999999+00'"),
    CursorType.TIMESTAMP: (f"{LEAST}::timestamp", "timestamp '294246-12-31 23:59:59.999999'"),
    CursorType.DATE: (f"{LEAST}::date", "date '5874897-12-31'"),
    CursorType.INTEGER: ("(-9223372036854775808)::bigint", "9223372036854775807::bigint"),
}
STEPS = {
    CursorType.TIMESTAMPTZ: "timestamptz '1970-01-01 00:00+00' + ({us} || ' us')::interval",
    CursorType.TIMESTAMP: "timestamp '1970-01-01' + ({us} || ' us')::interval",
    CursorType.DATE: "date '1970-01-01' + {us}::int",
    CursorType.INTEGER: "{us}::bigint",
}
EDGES = {
    CursorType.TIMESTAMPTZ: "'0001-01-01 00:00+00', '0001-12-31 23:59:59.999999+00 BC', '9999-12-31 23:59:59.999999+00',"
    " '10000-01-01 00:00+00', '0004-02-29 12:00+00', '0005-02-29 12:00+00 BC', '0044-03-15 12:00:00.5+00 BC',"
    " '1883-11-18 17:00+00', '1937-06-30 23:40:28+00', '2000-02-29 00:00+00', '1900-03-01 00:00+00',"
    " '1969-12-31 23:59:59.999999+00'",
    CursorType.DATE: "'0001-01-01', '0001-12-31 BC', '9999-12-31', '10000-01-01', '0004-02-29', '0005-02-29 BC', '1900-03-01'",
    CursorType.INTEGER: "0, -1, 1",
}
EDGES[CursorType.TIMESTAMP] = EDGES[CursorType.TIMESTAMPTZ].replace("+00", "")


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with database.connect() as connection:
        yield connection


@pytest.mark.parametrize(
    ("kind", "zone"),
    [
        *((kind, "UTC") for kind in CursorType),
        *((CursorType.TIMESTAMPTZ, zone) for zone in ("Europe/Amsterdam", "Asia/Kathmandu", "Africa/Monrovia")),
    ],
)
def test_ordinals_are_the_versions_that_the_server_computes(
    connection: psycopg.Connection[Any], kind: CursorType, zone: str
) -> None:
    """For the first and the last value, those around every turn of the calendar, and many between; in zones whose old offsets
    have minutes and seconds. What is made of the ordinal is the value again, for us and for the server."""
    connection.execute(sql.SQL("SET TimeZone = {}").format(sql.Literal(zone)))
    connection.execute("SET DateStyle = 'ISO, DMY'")
    low, high = (
        connection.execute(sql.SQL("SELECT {}").format(_version(kind, edge))).fetchone()[0]  # type: ignore[index]
        for edge in SPANS[kind]
    )
    chance = random.Random(7)
    steps = [chance.randint(low, high) for _ in range(2_000)] + [chance.randint(-(10**12), 10**12) for _ in range(200)]
    if kind is CursorType.DATE:
        steps = [step for step in steps if low <= step <= high]
    made = ", ".join(STEPS[kind].format(us=f"'{step}'") for step in steps)
    rows = connection.execute(
        sql.SQL(
            "SELECT v::text, {version} FROM unnest(ARRAY[{edges}]::{type}[] || ARRAY[{made}, {low}, {high}]) AS v"
        ).format(
            version=_version(kind, "v"),
            edges=sql.SQL(EDGES[kind]),
            type=sql.SQL("bigint" if kind is CursorType.INTEGER else kind),
            made=sql.SQL(made),
            low=sql.SQL(SPANS[kind][0]),
            high=sql.SQL(SPANS[kind][1]),
        )
    ).fetchall()

    assert [kind.ordinal(text) for text, _ in rows] == [version for _, version in rows]
    ours = [kind.text(version) for _, version in rows]
    assert [kind.ordinal(text) for text in ours] == [version for _, version in rows]
    read = sql.SQL("SELECT {} FROM unnest({}::{}[]) WITH ORDINALITY AS u(v, n) ORDER BY n").format(
        _version(kind, "v"), sql.Literal(ours), sql.SQL("bigint" if kind is CursorType.INTEGER else kind)
    )
    assert [version for (version,) in connection.execute(read)] == [version for _, version in rows]


def _version(kind: CursorType, value: str) -> sql.Composed:
    return sql.SQL(VERSIONS[kind]).format(c=sql.SQL(value))


@pytest.mark.parametrize("style", ["ISO, MDY", "German", "SQL, DMY", "Postgres, MDY"])
@pytest.mark.parametrize("column", ["timestamptz", "timestamp", "date"])
def test_rows_from_before_christ_are_indexed_and_swept(database: Database, column: str, style: str) -> None:
    """Whatever DateStyle and TimeZone the database has: in batches that begin there, from checkpoints that lie there, in a
    backfill and with a sweep's bound there."""
    with database.connect() as connection:
        for setting in (sql.SQL("DateStyle = {}").format(sql.Literal(style)), sql.SQL("TimeZone = 'Europe/Amsterdam'")):
            connection.execute(sql.SQL("ALTER DATABASE {} SET {}").format(sql.Identifier(database.name), setting))
        connection.execute("SET DateStyle = 'ISO'; SET TimeZone = 'UTC'")
        connection.execute(f"CREATE TABLE items (id int PRIMARY KEY, updated_at {column} NOT NULL)")
        connection.execute("CREATE INDEX ON items (updated_at, id)")
        stamps = [
            "-infinity",
            "4713-01-01 12:00 BC",
            "0044-03-15 12:00:00.25 BC",
            "0001-12-31 23:59:59 BC",
            "0001-01-01 00:00",
        ]
        with connection.cursor() as writing:
            writing.executemany(f"INSERT INTO items VALUES (%s, %s::{column})", list(enumerate(stamps)))
        run = Runner(
            source=PostgresSource(
                database.conn_id,
                table="public.items",
                primary_key="id",
                cursor_field="updated_at",
                margin=timedelta(0),
                cursor_timezone="Europe/Amsterdam",
            ),
            target=PostgresTarget(database.conn_id, index="public.items_index"),
            sizes=Sizes(batch_rows=1),
            chunk_rows=1,
        )
        plan = run.plan()
        results = [run.index(batch) for batch in plan.batches]
        # The first batches alone are done, so the checkpoint lies between two of these rows.
        for done in (3, 2):
            run.settle(plan, results[:done])
            report, _ = Sweeper(run=run, max_delete_fraction=1.0).sweep()
            assert report.counts == {}
        assert run.run().counts.failures == 0
        assert connection.execute("SELECT count(*) FROM items_index").fetchone() == (len(stamps),)
        filled = run.run(Request(Mode.BACKFILL, "0100-01-01 BC", "0001-06-01"))
        assert filled.counts.updated == 3
        report, _ = Sweeper(run=run, max_delete_fraction=1.0).sweep()
        assert (report.counts, report.indexed) == ({}, len(stamps))
