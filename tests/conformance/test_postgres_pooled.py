"""Behind a pool: whatever of the server's sessions a transaction gets, it works, and leaves nothing behind for others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.checkpoints.table import TableCheckpoint
from airflow_reindex_provider.core.errors import ConfigurationError, TransientError
from airflow_reindex_provider.core.model import Checkpoint, Position, Transform
from airflow_reindex_provider.databases.postgres.settings import READER_TAG, WRITER_TAG
from airflow_reindex_provider.databases.postgres.transactions import at_server
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database, EmbeddedPostgres
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper

pytestmark = pytest.mark.versions

SESSIONS = 4
KEPT = """
SELECT name, setting FROM pg_settings WHERE source NOT IN ('default', 'override', 'configuration file', 'command line')
  AND name NOT IN ('transaction_read_only', 'transaction_isolation', 'transaction_deferrable')
UNION ALL SELECT 'temporary table', relname FROM pg_class WHERE relpersistence = 't' AND pg_table_is_visible(oid)
UNION ALL SELECT 'prepared statement', name FROM pg_prepared_statements
UNION ALL SELECT 'lock', locktype FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'
ORDER BY 1, 2
"""
FORMATS = [pytest.param(None, id="pg_copy"), pytest.param(lambda document: document, id="rows")]
Pool = Callable[..., Database]


@pytest.fixture
def db(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """Rows whose texts hang on the session, in a database whose sessions are not as ours should be."""
    with database.connect() as connection:
        connection.execute(
            "CREATE TABLE items (id int PRIMARY KEY, at timestamptz, took interval, raw bytea,"
            " updated_at timestamptz NOT NULL DEFAULT now() - interval '1 hour');"
            "INSERT INTO items SELECT n, '2026-01-01 00:00+00', '1 mon 2 days', '\\x00ff' FROM generate_series(1, 300) n;"
            "CREATE INDEX ON items (updated_at, id)"
        )
        connection.execute(f"ALTER DATABASE {database.name} SET TimeZone = 'Asia/Tokyo'")
        connection.execute(f"ALTER DATABASE {database.name} SET IntervalStyle = 'iso_8601'")
        yield connection


def runner(source: str, target: str, transform: Transform | None = None) -> Runner:
    return Runner(
        source=PostgresSource(source, table="items", primary_key="id", cursor_field="updated_at", margin=timedelta(0)),
        target=PostgresTarget(
            target, index="public.items_index", chunk_rows=50, columns={"at": "text", "took": "text"}
        ),
        transform=transform,
    )


def answers(pooled: Database, statement: Any) -> set[tuple[Any, ...]]:
    """What each of the pool's sessions says; all of them are made to be there."""
    with ExitStack() as stack:
        clients = [stack.enter_context(pooled.connect(prepare_threshold=None)) for _ in range(SESSIONS)]
        for client in clients:
            client.execute("BEGIN")
        found = {(c.execute("SELECT pg_backend_pid()").fetchone(), *c.execute(statement).fetchall()) for c in clients}
        assert len({pid for pid, *_ in found}) == SESSIONS
        for client in clients:
            client.execute("COMMIT")
    return found


@pytest.mark.parametrize("transform", FORMATS)
@pytest.mark.parametrize(("source", "target"), [("pooled", None), (None, "pooled"), ("pooled", "pooled")])
def test_a_run_and_a_sweep_through_a_transaction_pool(
    postgres: EmbeddedPostgres,
    database: Database,
    db: psycopg.Connection[Any],
    pgbouncer: Pool,
    source: str | None,
    target: str | None,
    transform: Transform | None,
) -> None:
    """All rows arrive as they do without the pool, of which no session is another one afterwards."""
    pooled = pgbouncer(postgres, database.name, pool_size=SESSIONS)
    before = answers(pooled, KEPT)
    run = runner(source or database.conn_id, target or database.conn_id, transform)

    assert run.run().counts.created == 300
    db.execute("UPDATE items SET updated_at = now() WHERE id <= 10")
    assert run.run().counts.updated == 10
    db.execute("DELETE FROM items WHERE id > 290")
    assert Sweeper(run=run).sweep()[1].counts.deleted == 10

    assert db.execute("SELECT count(*), min(took), max(took) FROM items_index").fetchone() == (
        290,
        "1 mon 2 days",
        "1 mon 2 days",
    )
    at = db.execute("SELECT DISTINCT at FROM items_index").fetchall()
    assert at == [("2026-01-01 00:00:00+00" + (":00" if transform else ""),)]
    assert answers(pooled, KEPT) == before


@pytest.mark.parametrize("transform", FORMATS)
def test_a_session_pool_without_a_reset_query(
    postgres: EmbeddedPostgres,
    database: Database,
    db: psycopg.Connection[Any],
    pgbouncer: Pool,
    transform: Transform | None,
) -> None:
    """Its sessions go to the next client as the last one left them, and we leave them as they were."""
    pooled = pgbouncer(
        postgres, database.name, pool_mode="session", pool_size=SESSIONS, settings={"server_reset_query": ""}
    )
    before = answers(pooled, KEPT)

    assert runner("pooled", "pooled", transform).run().counts.created == 300

    assert answers(pooled, KEPT) == before


def test_policies_hide_no_row_behind_a_pool(
    postgres: EmbeddedPostgres, database: Database, db: psycopg.Connection[Any], pgbouncer: Pool
) -> None:
    """With any number of sessions the source is refused, as without a pool."""
    db.execute(
        "CREATE ROLE pooled_app LOGIN; GRANT pg_read_all_stats TO pooled_app; GRANT SELECT ON items TO pooled_app;"
        "ALTER TABLE items ENABLE ROW LEVEL SECURITY; CREATE POLICY half ON items USING (id % 2 = 0)"
    )
    try:
        pooled = pgbouncer(
            postgres, database.name, user="pooled_app", users=("postgres", "pooled_app"), pool_size=SESSIONS
        )
        answers(pooled, "SELECT count(*) FROM items")
        for _ in range(SESSIONS):
            with pytest.raises(ConfigurationError, match="BYPASSRLS"):
                runner("pooled", database.conn_id).run()
    finally:
        db.execute("DROP OWNED BY pooled_app; DROP ROLE pooled_app")


def test_checkpoints_and_tombstones_through_a_transaction_pool(
    postgres: EmbeddedPostgres, database: Database, db: psycopg.Connection[Any], pgbouncer: Pool
) -> None:
    """A table of checkpoints compares and sets; triggers are made and dropped."""
    pooled = pgbouncer(postgres, database.name, pool_size=SESSIONS)
    before = answers(pooled, KEPT)
    store = TableCheckpoint("pooled")
    for value in ("a", "b", "c"):
        store.save(Checkpoint("s", "g", Position(value), version=store.load("s", "g").version))
    assert store.load("s", "g").position == Position("c")

    source = PostgresSource("pooled", table="items", primary_key="id", cursor_field="updated_at", tombstones=True)
    source.install_tombstones()
    db.execute("DELETE FROM items WHERE id = 1")
    assert source.purge_tombstones(below="2999-01-01") == 1
    source.remove_tombstones()

    assert answers(pooled, KEPT) == before


def test_a_statement_pool_is_refused(
    postgres: EmbeddedPostgres, database: Database, db: psycopg.Connection[Any], pgbouncer: Pool
) -> None:
    """It has no transactions at all: the error names it, the connection, and what to set."""
    pgbouncer(postgres, database.name, pool_mode="statement")

    for source, target in (("pooled", database.conn_id), (database.conn_id, "pooled")):
        with pytest.raises(ConfigurationError, match=r"(?s)'pooled'.*statement pooling.*pool_mode = transaction"):
            runner(source, target).run()


@pytest.mark.parametrize("name", [READER_TAG, WRITER_TAG, f"{READER_TAG} 1764269712123456"])
def test_a_stranger_with_our_name_holds_the_horizon(database: Database, db: psycopg.Connection[Any], name: str) -> None:
    """A session that was ours before, or whose application likes the name, may write: its late row is not lost."""
    run = runner(database.conn_id, database.conn_id)
    with database.connect(application_name=name) as stranger, stranger.transaction():
        stranger.execute("INSERT INTO items (id, updated_at) VALUES (301, now())")
        db.execute("INSERT INTO items (id, updated_at) VALUES (302, now())")
        assert run.run().counts.created == 300
    assert run.run().counts.created == 2


def test_grants_name_the_role_that_the_server_sees(
    database: Database, db: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the one that logs in: a role may be set to become another one, and a pool may log in by itself."""
    db.execute(
        "CREATE ROLE seen_role; CREATE ROLE login_role LOGIN IN ROLE seen_role; GRANT pg_read_all_stats TO seen_role"
    )
    db.execute("ALTER ROLE login_role SET role = 'seen_role'")
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", database.uri.replace("postgres@", "login_role@"))
    try:
        with pytest.raises(ConfigurationError, match='GRANT SELECT ON "items" TO "seen_role"'):
            runner("other", database.conn_id).run()
        with pytest.raises(ConfigurationError, match='ON SCHEMA "public" TO "seen_role"'):
            runner(database.conn_id, "other").run()
        with pytest.raises(ConfigurationError, match='TO "seen_role"'):
            TableCheckpoint("other").load("s", "g")
    finally:
        db.execute("DROP OWNED BY seen_role; DROP ROLE login_role; DROP ROLE seen_role")


def test_transactions_at_two_servers_are_an_error(database: Database, db: psycopg.Connection[Any]) -> None:
    """What spreads reads over a primary and its standbys would give rows of the one below the horizon of the other."""
    with runner(database.conn_id, database.conn_id).source.open() as session:
        connection = session._connection
        session.survey()
        connection.cursor_factory.server = replace(at_server(connection), started="another time")
        with pytest.raises(
            TransientError, match=rf"'{database.conn_id}'.*two servers.*Remedy: Point .* at the primary"
        ):
            session.survey()
