"""What is wrong with a stream is said before anything is written: each message names the object and the remedy, and the
remedy works."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from airflow_reindex_provider.core.errors import (
    CheckpointInvalidError,
    ConfigurationError,
    HorizonError,
    TransientError,
    WindowError,
)
from airflow_reindex_provider.core.model import Checkpoint, Mode, Position
from airflow_reindex_provider.core.windows import Request
from airflow_reindex_provider.databases.postgres.transactions import transaction
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.sources.postgres import horizon as horizons
from airflow_reindex_provider.sources.postgres.relations import Relations
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database, EmbeddedPostgres
from airflow_reindex_provider.testing.runs import Runner

ITEMS = """
CREATE TABLE items (
    id int PRIMARY KEY, "Sku" text, nullable int UNIQUE, repeated int NOT NULL DEFAULT 1, price numeric,
    updated_at timestamptz NOT NULL DEFAULT now(), local timestamp DEFAULT now(), day date DEFAULT now()
);
CREATE INDEX ON items (updated_at, id);
INSERT INTO items (id, "Sku", nullable, updated_at)
    SELECT n, 'sku ' || n, n, now() - interval '1 minute' FROM generate_series(1, 10) n;
"""


@pytest.fixture
def db(database: Database) -> psycopg.Connection[Any]:
    connection = database.connect()
    connection.execute(ITEMS)
    return connection


def runner(database: Database, **options: Any) -> Runner:
    given = {"table": "public.items", "primary_key": "id", "cursor_field": "updated_at", **options}
    return Runner(
        source=PostgresSource(database.conn_id, **given), target=PostgresTarget(database.conn_id, index="items_index")
    )


def relations(connection: psycopg.Connection[Any]) -> list[str]:
    """Everything that lies in the database beside what the test made."""
    found = connection.execute(
        "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE nspname NOT LIKE 'pg!_%' ESCAPE '!' AND nspname <> 'information_schema' AND relkind IN ('r', 'v')"
    )
    return sorted(name for (name,) in found)


def refused(run: Runner, error: type[Exception], *said: str, request: Request = Request()) -> str:
    with pytest.raises(error) as caught:
        run.plan(request)
    message = str(caught.value)
    for text in said:
        assert text in message, message
    return message


# -- the stream's definition


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"table": "public.itmes"}, ["public.itmes", "no such table", "spelling"]),
        ({"table": "nowhere.items"}, ["nowhere.items", "no such table"]),
        ({"table": "public.ITEMS"}, ["public.ITEMS", "case"]),
        ({"table": 'items"; DROP TABLE items; --'}, ['items"; DROP TABLE items; --', "no such table"]),
        ({"table": "public.items_pkey"}, ["public.items_pkey", "neither a table nor a view"]),
        ({"primary_key": "sku"}, ["primary_key", "'sku'", "Sku"]),
        ({"primary_key": 'id"), (SELECT 1'}, ['id"), (SELECT 1', "not a column"]),
        ({"cursor_field": "changed_at"}, ["cursor_field", "'changed_at'", "updated_at"]),
        ({"cursor_field": "updated_at; DROP TABLE items"}, ["updated_at; DROP TABLE items", "not a column"]),
        ({"soft_delete_column": "gone"}, ["soft_delete_column", "'gone'"]),
        ({"columns": ("price", "'; DROP TABLE items; --")}, ["columns", "DROP TABLE items", "not a column"]),
        ({"cursor_field": "price"}, ["'price'", "numeric", "timestamptz, timestamp, date or integer"]),
        ({"cursor_field": "Sku"}, ["'Sku'", "text", "timestamptz, timestamp, date or integer"]),
        ({"cursor_field": "local"}, ["'local'", "no time zone", "cursor_timezone"]),
        ({"cursor_field": "local", "cursor_timezone": "Mars/Olympus"}, ["Mars/Olympus", "no time zone"]),
        ({"lag": 5}, ["lag", "timedelta"]),
        ({"cursor_field": "repeated", "lag": timedelta(1)}, ["lag", "number"]),
        ({"row_filter": "no_such_column"}, ["no_such_column"]),
        ({"table": None, "query": "SELECT * FROM items; DROP TABLE items"}, ["syntax error"]),
        ({"table": None, "query": "SELECT * FROM itmes"}, ["itmes", "does not exist"]),
        ({"table": None, "query": "WITH gone AS (DELETE FROM items RETURNING *) SELECT * FROM gone"}, ["query"]),
    ],
)
def test_a_definition_that_does_not_fit_the_table(
    database: Database, db: psycopg.Connection[Any], options: dict[str, Any], said: list[str]
) -> None:
    """Names the option, the object and what there is instead. Nothing of a name runs as SQL."""
    message = refused(runner(database, **options), ConfigurationError, *said)

    assert database.conn_id in message
    assert relations(db) == ["items"]
    assert db.execute("SELECT count(*) FROM items").fetchone() == (10,)


def test_an_unknown_connection(database: Database, db: psycopg.Connection[Any]) -> None:
    """Of the source and of the target: says how to add it."""
    known = runner(database)
    for run in (
        replace(known, source=replace(known.source, conn_id="shop_db")),  # type: ignore[type-var]
        replace(known, target=replace(known.target, conn_id="shop_db")),  # type: ignore[type-var]
    ):
        refused(run, ConfigurationError, "'shop_db'", "does not exist", "airflow connections add shop_db")
    assert relations(db) == ["items"]


def test_a_connection_to_nowhere(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that does not exist must be mended; a server that does not answer may be tried again."""
    monkeypatch.setenv("AIRFLOW_CONN_WRONG_DB", database.uri.replace(database.name, "no_such_database"))
    monkeypatch.setenv("AIRFLOW_CONN_DOWN_DB", "postgres://postgres@127.0.0.1:1/x")
    run = runner(database)
    refused(replace(run, source=replace(run.source, conn_id="wrong_db")), ConfigurationError, "no_such_database")  # type: ignore[type-var]
    refused(replace(run, source=replace(run.source, conn_id="down_db")), TransientError, "'down_db'")  # type: ignore[type-var]


def test_a_key_that_is_not_unique(database: Database, db: psycopg.Connection[Any]) -> None:
    """The message gives the index that would make it unique, and that statement works."""
    message = refused(runner(database, primary_key=("Sku", "repeated")), ConfigurationError, "unique", "Sku")

    db.execute('ALTER TABLE items ALTER COLUMN "Sku" SET NOT NULL')
    execute_remedies(db, message, "CREATE UNIQUE INDEX")
    assert runner(database, primary_key=("Sku", "repeated")).run().counts.created == 10


def test_a_key_that_can_be_null(database: Database, db: psycopg.Connection[Any]) -> None:
    """A unique column that may be NULL is no key; the message gives the statement that mends it, and it works."""
    message = refused(runner(database, primary_key="nullable"), ConfigurationError, "'nullable'", "NULL")

    execute_remedies(db, message, "ALTER TABLE")
    assert runner(database, primary_key="nullable").run().counts.created == 10


def test_a_query_whose_key_repeats(database: Database, db: psycopg.Connection[Any]) -> None:
    """Nothing promises that a query's key is unique, so the window is looked through."""
    run = runner(database, table=None, query="SELECT * FROM items UNION ALL SELECT * FROM items WHERE id = 7")
    refused(run, ConfigurationError, "key 7 stands for 2 rows", "unique")
    assert relations(db) == ["items"]


def test_a_missing_index_is_a_warning_with_its_ddl(database: Database, db: psycopg.Connection[Any]) -> None:
    """The run works all the same; the statement in the warning ends it."""
    run = runner(database, primary_key=("id", "Sku"))
    db.execute('ALTER TABLE items ALTER COLUMN "Sku" SET NOT NULL')
    (warning,) = run.plan().warnings

    execute_remedies(db, warning, "CREATE INDEX")
    assert run.plan().warnings == ()


def test_a_key_that_is_the_cursor_has_its_index(database: Database, db: psycopg.Connection[Any]) -> None:
    """Its primary key's own; no other is asked for."""
    db.execute("CREATE TABLE counted (id bigserial PRIMARY KEY, note text)")
    assert runner(database, table="public.counted", cursor_field="id").plan().warnings == ()


# -- windows and checkpoints


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (None, "2026-01-02", ["needs a start", "window_start"]),
        ("2026-01-02", "2026-01-02", ["empty"]),
        ("2026-01-03", "2026-01-02", ["reversed", "swap"]),
        ("2999-01-01", "2999-01-02", ["future"]),
        ("yesterday", None, ["'yesterday'", "cannot bound a window"]),
        ("'; DROP TABLE items; --", None, ["cannot bound a window"]),
    ],
)
def test_a_window_that_is_none(
    database: Database, db: psycopg.Connection[Any], start: Any, end: Any, said: list[str]
) -> None:
    """Empty, reversed, in the future, or not a time."""
    refused(runner(database), WindowError, *said, request=Request(Mode.BACKFILL, start, end))
    assert relations(db) == ["items"]


@pytest.mark.parametrize(
    ("cursor", "said"),
    [
        ("2999-01-01 00:00:00+00", ["lies ahead of the source's clock", "reset"]),
        ("infinity", ["lies ahead of the source's clock"]),
        ("last tuesday", ["'last tuesday'", "timestamptz", "reset"]),
        ("'; DROP TABLE items; --", ["DROP TABLE items", "reset"]),
    ],
)
def test_a_checkpoint_that_is_none(
    database: Database, db: psycopg.Connection[Any], cursor: str, said: list[str]
) -> None:
    """Edited into garbage, or ahead of the source's clock: says where it is kept, and how to reset it."""
    run = runner(database)
    generation = run.run().plan.generation
    stored = run.store.load(run.stream, generation)
    run.store.save(replace(stored, position=Position(cursor)))
    before = relations(db)

    refused(run, CheckpointInvalidError, *said)
    assert relations(db) == before
    assert db.execute("SELECT count(*) FROM items_index").fetchone() == (10,)


def test_a_checkpoint_whose_key_is_none(database: Database, db: psycopg.Connection[Any]) -> None:
    """A key of another type is an error that says so, and never SQL."""
    run = runner(database)
    generation = run.run().plan.generation
    stored = run.store.load(run.stream, generation)
    garbage = Position("2026-01-01 00:00:00+00", ("1); DROP TABLE items; --",))
    run.store.save(replace(stored, position=garbage))

    refused(run, ConfigurationError, "DROP TABLE items", "integer")
    assert "items" in relations(db)


# -- the target's name


@pytest.mark.parametrize("kind", ["TABLE", "VIEW", "MATERIALIZED VIEW"])
def test_a_target_name_that_is_taken(database: Database, db: psycopg.Connection[Any], kind: str) -> None:
    """What is not ours is named and left alone."""
    db.execute(f"CREATE {kind} items_index AS SELECT 'mine' AS x")
    before = relations(db)
    refused(runner(database), ConfigurationError, "items_index", kind.lower(), "left alone", "another index name")
    assert relations(db) == before
    assert db.execute("SELECT x FROM items_index").fetchone() == ("mine",)


def test_a_target_of_another_stream(database: Database, db: psycopg.Connection[Any]) -> None:
    """Names the stream that it belongs to."""
    runner(database).run()
    refused(replace(runner(database), stream="other"), ConfigurationError, "belongs to stream 'stream'", "'other'")


def test_a_schema_that_is_not_there(database: Database, db: psycopg.Connection[Any]) -> None:
    """Of the target's name."""
    run = replace(runner(database), target=PostgresTarget(database.conn_id, index="search.items"))
    refused(run, ConfigurationError, "search.items", '"search" does not exist')


# -- privileges


ROLE = 'indexer "1"'


@pytest.fixture
def restricted(database: Database, db: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A role that may nothing but connect, and a runner that works as it."""
    role = sql.Identifier(ROLE)
    db.execute("REVOKE ALL ON SCHEMA public FROM public")
    db.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM public").format(sql.Identifier(database.name)))
    db.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
    db.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database.name), role))
    host = conninfo_to_dict(database.dsn)["host"]
    monkeypatch.setenv(
        "AIRFLOW_CONN_RESTRICTED",
        f'{{"conn_type": "postgres", "host": "{host}", "login": "indexer \\"1\\"", "schema": "{database.name}"}}',
    )
    run = runner(database)
    yield replace(
        run,
        source=replace(run.source, conn_id="restricted"),  # type: ignore[type-var]
        target=replace(run.target, conn_id="restricted", index="public.items_index"),  # type: ignore[type-var]
    )
    db.execute(sql.SQL("DROP OWNED BY {}").format(role))
    db.execute(sql.SQL("DROP ROLE {}").format(role))


def execute_remedies(connection: psycopg.Connection[Any], message: str, verb: str) -> None:
    """Do what the message says, word for word."""
    statements = re.findall(rf"{verb} [^;]*;", message)
    assert statements, message
    for statement in statements:
        connection.execute(statement.replace(" CONCURRENTLY", ""))


def test_each_missing_grant_is_printed_and_works(db: psycopg.Connection[Any], restricted: Runner) -> None:
    """Executing nothing but the statements of the messages, one after the other, leads to a run that works; until then
    nothing is written."""
    seen = []
    for _ in range(6):
        try:
            outcome = restricted.run()
            break
        except ConfigurationError as error:
            seen.append(str(error))
            assert relations(db) == ["items"], seen
            execute_remedies(db, str(error), "GRANT")
    else:
        pytest.fail("\n".join(seen))

    assert outcome.counts.created == 10
    assert any("pg_read_all_stats" in message for message in seen)
    assert any("SELECT ON" in message for message in seen)
    assert any("CREATE ON SCHEMA" in message for message in seen)
    assert len(seen) == 3


def test_lag_needs_no_view_of_other_sessions(db: psycopg.Connection[Any], restricted: Runner) -> None:
    """A stated lag stands for the privilege."""
    db.execute(f"GRANT USAGE, CREATE ON SCHEMA public TO {_role()}")
    db.execute(f"GRANT SELECT ON items TO {_role()}")
    refused(restricted, HorizonError, "pg_read_all_stats", "lag")

    plan = replace(restricted, source=replace(restricted.source, lag=timedelta(seconds=5))).plan()  # type: ignore[type-var]

    assert plan.rows == 10
    assert "lag" in plan.horizon_basis


def test_row_level_security_is_an_error(db: psycopg.Connection[Any], restricted: Runner) -> None:
    """Rows that a policy would hide are an error, not rows that are gone."""
    db.execute(f"GRANT USAGE, CREATE ON SCHEMA public TO {_role()}")
    db.execute(f"GRANT SELECT ON items TO {_role()}")
    db.execute(f"GRANT pg_read_all_stats TO {_role()}")
    db.execute("ALTER TABLE items ENABLE ROW LEVEL SECURITY")
    db.execute("CREATE POLICY half ON items USING (id < 5)")

    refused(restricted, ConfigurationError, "row-level security", "items", "BYPASSRLS")
    assert relations(db) == ["items"]


def _role() -> str:
    return sql.Identifier(ROLE).as_string(None)


# -- what the horizon rests on


def test_a_session_that_hides_its_transactions(database: Database, db: psycopg.Connection[Any]) -> None:
    """track_activities=off is named with pid and user; a stated lag does without it."""
    with database.connect() as hidden:
        hidden.execute("SET track_activities = off")
        message = refused(runner(database), HorizonError, "track_activities", str(hidden.info.backend_pid), "lag")
        assert relations(db) == ["items"]
        execute_remedies(db, message, "ALTER ROLE")
        assert runner(database, lag=timedelta(0)).plan().rows == 10
    db.execute("ALTER ROLE postgres RESET track_activities")


def test_a_prepared_transaction_holds_and_is_named(database: Database, db: psycopg.Connection[Any]) -> None:
    """While one exists nothing is read and the checkpoint stays; once it is committed its rows come, late as they are."""
    run = runner(database)
    run.run()
    with database.connect() as writer:
        writer.execute("BEGIN")
        writer.execute("INSERT INTO items (id, updated_at) VALUES (100, now())")
        writer.execute("PREPARE TRANSACTION 'the gid'")
    db.execute("INSERT INTO items (id, updated_at) VALUES (101, now() + interval '1 ms')")
    db.execute("SELECT pg_sleep(0)")

    held = replace(run, source=replace(run.source, margin=timedelta(0)))  # type: ignore[type-var]
    outcome = held.run()
    assert outcome.plan.horizon is None
    assert "'the gid'" in (outcome.plan.held_by or "")
    assert "COMMIT PREPARED" in (outcome.plan.held_by or "")
    assert outcome.checkpoint_after == outcome.checkpoint_before
    with pytest.raises(TransientError, match="the gid"):
        held.plan(Request(Mode.BACKFILL, "2020-01-01", "2026-01-01"))

    db.execute("COMMIT PREPARED 'the gid'")
    assert held.run().counts.created == 2


def test_a_holder_is_named(database: Database, db: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that holds the horizon back for long is named with pid, user, state and application; a fresh one is
    not."""
    with database.connect(application_name="batch job") as holder, holder.transaction():
        holder.execute("SELECT 1")
        assert runner(database).plan().warnings == ()
        monkeypatch.setattr(horizons, "NAMED_AFTER_S", 0.0)
        (warning,) = runner(database).plan().warnings
        pid = str(holder.info.backend_pid)

    for text in (pid, "'postgres'", "idle in transaction", "batch job"):
        assert text in warning


def test_our_own_readers_do_not_hold_the_horizon(database: Database, db: psycopg.Connection[Any]) -> None:
    """A long read of ours does not keep the next run from moving on."""
    run = runner(database, margin=timedelta(0))
    with run.source.open() as reader:
        connection = reader._connection  # type: ignore[attr-defined]
        with transaction(connection):
            connection.execute("SELECT 1")
            since = db.execute("SELECT clock_timestamp()::text").fetchone()
            assert since is not None
            horizon = run.plan().horizon
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                connection.execute("INSERT INTO items (id) VALUES (99)")
    assert datetime.fromisoformat(horizon or "") >= datetime.fromisoformat(since[0])


def test_a_local_clock_that_goes_back_passes_no_row(database: Database, db: psycopg.Connection[Any]) -> None:
    """Through the hour that comes twice and the one that never comes, whatever instant a transaction began at, rows that
    any later transaction stamps with its local time lie at or above the horizon."""
    zone = ZoneInfo("America/New_York")
    statement = bounds_statement()
    fall, spring = datetime(2026, 11, 1, 4, tzinfo=UTC), datetime(2026, 3, 8, 4, tzinfo=UTC)
    for start in (fall, spring):
        for minutes in range(0, 6 * 60, 7):
            safe_at = start + timedelta(minutes=minutes, seconds=11)
            row = db.execute(statement, {"safe_at": safe_at, "zone": str(zone)}).fetchone()
            assert row is not None
            later = [safe_at + timedelta(minutes=m) for m in range(26 * 60)]
            least = min(moment.astimezone(zone).replace(tzinfo=None) for moment in later)
            assert row[0] <= least


def bounds_statement() -> str:
    """The expression of the survey that turns an instant into local time."""
    from airflow_reindex_provider.sources.postgres.survey import CLOCK

    found = re.search(r"(least\(safe_at AT TIME ZONE.*?\)\)) AS safe_local", CLOCK, re.DOTALL)
    assert found
    return f"SELECT {found[1]} FROM (SELECT %(safe_at)s::timestamptz AS safe_at) AS instants"


def test_a_date_cursor_reads_days_that_are_over(database: Database, db: psycopg.Connection[Any]) -> None:
    """Today's rows wait until no transaction can add to the day."""
    db.execute("UPDATE items SET day = current_date - id % 3")
    run = runner(database, cursor_field="day", cursor_timezone="UTC")

    outcome = run.run()

    assert outcome.counts.created == 7
    assert db.execute("SELECT count(*) FROM items_index WHERE day = current_date").fetchone() == (0,)


def test_an_integer_cursor_waits_for_late_commits(
    database: Database, db: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that took a lower number and is still open keeps the greater, committed ones unread; when it ends in
    time all come, and nothing is skipped either way."""
    db.execute("CREATE SEQUENCE change")
    db.execute("CREATE TABLE counted (id int PRIMARY KEY, seq bigint NOT NULL DEFAULT nextval('change'))")
    db.execute("CREATE INDEX ON counted (seq, id)")
    db.execute("INSERT INTO counted (id) VALUES (1)")
    run = runner(database, table="counted", cursor_field="seq")
    assert run.run().counts.created == 1

    monkeypatch.setattr(horizons, "INTEGER_WAIT_S", 0.3)
    with database.connect() as late:
        with late.transaction():
            late.execute("INSERT INTO counted (id) VALUES (2)")
            db.execute("INSERT INTO counted (id) VALUES (3)")
            outcome = run.run()
            assert outcome.counts.processed == 0
            assert str(late.info.backend_pid) in (outcome.plan.held_by or "")
            assert outcome.checkpoint_after == outcome.checkpoint_before
        monkeypatch.setattr(horizons, "INTEGER_WAIT_S", 30.0)
        late.execute("BEGIN")
        late.execute("INSERT INTO counted (id) VALUES (4)")
        db.execute("INSERT INTO counted (id) VALUES (5)")
        threading.Timer(0.5, late.execute, ["COMMIT"]).start()
        assert run.run().counts.created == 4
    assert run.run().counts.processed == 0


def test_a_transaction_prepared_meanwhile_holds_an_integer_cursor(
    database: Database, db: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves the list of open transactions without having ended."""
    db.execute("CREATE TABLE counted (id int PRIMARY KEY, seq bigint NOT NULL)")
    db.execute("INSERT INTO counted VALUES (2, 2)")
    monkeypatch.setattr(horizons, "INTEGER_WAIT_S", 0.3)
    run = runner(database, table="counted", cursor_field="seq")
    with run.source.open() as session, database.connect() as late:
        found = Relations.described(run.source, session._connection)
        late.execute("BEGIN")
        late.execute("INSERT INTO counted VALUES (1, 1)")
        late.execute("PREPARE TRANSACTION 'number one'")
        horizon, _, _ = horizons.integer_horizon(run.source, found.changes, session._connection)
    db.execute("ROLLBACK PREPARED 'number one'")

    assert horizon.cursor is None
    assert "number one" in horizon.held_by


def test_a_null_cursor_is_counted_once(database: Database, db: psycopg.Connection[Any]) -> None:
    """Rows without a cursor value are left out of the index and stand in the plan."""
    db.execute("ALTER TABLE items ALTER COLUMN updated_at DROP NOT NULL")
    db.execute("UPDATE items SET updated_at = NULL WHERE id <= 3")

    outcome = runner(database).run()

    assert outcome.plan.null_cursors == 3
    assert outcome.counts.created == 7


def test_a_dry_run_writes_nothing(database: Database, db: psycopg.Connection[Any]) -> None:
    """It plans and reports, and leaves neither table nor checkpoint."""
    run = runner(database)
    plan = run.plan(Request(dry_run=True))

    assert plan.rows == 10
    assert relations(db) == ["items"]
    assert run.store.load(run.stream, plan.generation) == Checkpoint(run.stream, plan.generation)


@pytest.fixture
def standby(postgres: EmbeddedPostgres, database: Database, db: psycopg.Connection[Any]) -> Iterator[Database]:
    """A standby of the server that replays what it writes."""
    folder = Path(tempfile.mkdtemp(prefix="reindex-standby-"))
    if postgres.user:
        shutil.chown(folder, postgres.user)
    subprocess.run(
        [
            str(postgres._pg_ctl.with_name("pg_basebackup")),
            *("-D", str(folder / "data"), "-R", "-X", "stream", "-c", "fast"),
            *("-h", str(postgres.socket_dir), "-U", "postgres"),
        ],
        user=postgres.user,
        cwd="/",
        check=True,
    )
    # The server keeps its socket in its data folder, and so the backup has the lock of it.
    (folder / "data" / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
    with (folder / "data" / "postgresql.conf").open("a") as configuration:
        configuration.write(f"primary_conninfo = 'host={postgres.socket_dir} user=postgres'\n")
    try:
        with EmbeddedPostgres(folder / "data", durable=False) as server:
            yield server.database(database.name, conn_id="standby")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_standby_says_nothing_of_the_primary(
    database: Database, db: psycopg.Connection[Any], standby: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading from a standby is refused, with what to do; with a stated lag it works, up to what has been replayed."""
    monkeypatch.setenv("AIRFLOW_CONN_STANDBY", standby.uri)
    run = runner(database)
    reading = replace(run, source=replace(run.source, conn_id="standby"))  # type: ignore[type-var]
    refused(reading, HorizonError, "standby", "primary", "lag")

    # Nor are rows of it read below a horizon of the primary, where a list of hosts leads to the one and to the other.
    with pytest.raises(HorizonError, match="point the connection at the primary"), reading.source.open():
        pass

    lagging = replace(run, source=replace(run.source, conn_id="standby", lag=timedelta(seconds=1)))  # type: ignore[type-var]

    # Of a standby that has replayed nothing nobody knows how far it is.
    db.execute("UPDATE items SET price = 1")
    with standby.connect() as connection:
        deadline = time.monotonic() + 60
        while connection.execute("SELECT count(*) FROM items WHERE price = 1").fetchone() != (10,):
            assert time.monotonic() < deadline, "the standby replays nothing"
            time.sleep(0.05)
    assert lagging.run().counts.created == 10
