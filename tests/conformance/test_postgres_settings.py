"""Whatever the server, a database or a role sets, the same is read and written: every setting of the server's own catalogue."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from nasty_values import TYPES, VALUES
from psycopg import sql

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Batch, Document, Format, Position, Transform, Window
from airflow_reindex_provider.databases.postgres import settings, transactions
from airflow_reindex_provider.databases.postgres.connection import connect
from airflow_reindex_provider.databases.postgres.transactions import transaction
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper

DECIDED = {
    "settled": {*settings.SETTLED, *settings.SETTLED_BESIDES},
    "refused": set(settings.REFUSED),
    "a limit": settings.LIMITS,
    "theirs": settings.THEIRS,
    "harmless": settings.HARMLESS,
}
SETTABLE = """
SELECT name, context, vartype, boot_val, min_val::float8, max_val::float8, enumvals FROM pg_settings
WHERE context IN ('user', 'superuser', 'backend', 'superuser-backend') AND name NOT LIKE '%.%'
"""
TEXTS = {
    "DateStyle": ["German", "SQL, DMY", "Postgres, MDY"],
    "TimeZone": ["Asia/Tokyo", "America/St_Johns", "Africa/Monrovia"],
    "client_encoding": ["LATIN1", "SJIS", "SQL_ASCII"],
    "search_path": ["''", "hostile, pg_catalog, public", "pg_temp, public"],
    "wal_consistency_checking": ["all"],
    "backtrace_functions": ["pg_backend_pid"],
}
"""Of settings whose values the catalogue does not list."""
ROUNDS = 4
"""So many values of a setting are tried, with each of the others' in one of these rounds."""


@pytest.fixture
def db(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """A table with a row for each nasty value; a schema with names of the catalogue that lie."""
    with database.connect() as connection:
        make(connection)
        yield connection


def make(connection: psycopg.Connection[Any]) -> None:
    connection.execute(TYPES)
    columns = ", ".join(f'"c{n}" {name}' for n, name in enumerate(VALUES))
    connection.execute(
        f"CREATE TABLE nasty (id serial PRIMARY KEY, {columns}, updated_at timestamptz NOT NULL DEFAULT now())"
    )
    for n, (name, values) in enumerate(VALUES.items()):
        for value in values:
            connection.execute(f'INSERT INTO nasty ("c{n}") VALUES (({value})::{name})')
    connection.execute(
        "CREATE SCHEMA hostile;"
        "CREATE VIEW hostile.pg_class AS SELECT 1 AS oid; CREATE VIEW hostile.pg_attribute AS SELECT 1 AS attrelid;"
        "CREATE FUNCTION hostile.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz';"
        "CREATE FUNCTION hostile.format_type(oid, int) RETURNS text LANGUAGE sql AS 'SELECT NULL::text'"
    )


def settable(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    return {name: facts for name, *facts in connection.execute(SETTABLE)}


def runner(database: Database, index: str = "public.nasty_index", transform: Transform | None = None) -> Runner:
    source = PostgresSource(
        database.conn_id, table="public.nasty", primary_key="id", cursor_field="updated_at", margin=timedelta(0)
    )
    return Runner(source=source, target=PostgresTarget(database.conn_id, index=index), transform=transform)


def answers(database: Database) -> dict[str, Any]:
    """The schema, and all rows in each format."""
    found: dict[str, Any] = {}
    with runner(database).source.open() as source:
        schema = source.schema()
        found["schema"] = schema
        window = Window(None, Position("2999-01-01 00:00:00+00"))
        batch = Batch("s", "g", 0, 1, window, 1000)
        names = [field.name for field in schema.fields]
        for format in (Format.PG_COPY, Format.BULK, Format.ROWS):
            got: list[Any] = []
            for chunk in source.read(batch, format=format, fields=names, chunk_rows=50):
                got += [shown(document) for document in chunk.payload] if format is Format.ROWS else chunk.payload
            found[format] = sorted(got) if format is Format.ROWS else b"".join(got)
    return found


def shown(document: Document) -> tuple[Any, ...]:
    return (document.key, document.version, repr(document.fields))


def values_of(name: str, facts: Sequence[Any]) -> list[str]:
    """Values that are not the default: every one of an enum, the least and a great one of a number."""
    context, kind, default, least, greatest, listed = facts
    if context.endswith("backend") or name.startswith(
        "transaction_"
    ):  # of a client's options, or of a transaction alone
        return []
    if kind == "bool":
        return ["off" if default == "on" else "on"]
    if kind == "enum":
        return [value for value in listed if value != default]
    if kind == "string":
        return TEXTS.get(name, [])
    # The greatest that a server can take at all is for no server; a hundredfold is another world already.
    great = min(greatest, max(1000.0, 100 * abs(float(default))))
    return [f"{value:g}" if kind == "real" else f"{value:.0f}" for value in (least, great) if value != float(default)]


def set_all(connection: psycopg.Connection[Any], database: Database, given: dict[str, str]) -> None:
    name = sql.Identifier(database.name)
    connection.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(name))
    for setting, value in given.items():
        # A path is a list, where quotes stand around each name.
        literal = sql.SQL(value) if setting == "search_path" else sql.Literal(value)
        connection.execute(sql.SQL("ALTER DATABASE {} SET {} = {}").format(name, sql.Identifier(setting), literal))


def test_every_setting_is_decided(database: Database, contrib_database: Database) -> None:
    """One that a newer server brings fails here until somebody has decided: settle it, refuse it, or say why it may stay."""
    for server in (database, contrib_database):
        with server.connect() as connection:
            known = settable(connection)
        decided = set().union(*DECIDED.values())
        assert set(known) - decided == set()
        assert [name for name in settings.SETTLED if known[name][0] != "user"] == [], "not everybody may set it"


def test_every_setting_is_decided_once() -> None:
    """In one way."""
    assert len(set().union(*DECIDED.values())) == sum(map(len, DECIDED.values()))


def hostile(connection: psycopg.Connection[Any], round: int) -> dict[str, str]:
    """All that we settle and all that is harmless, each at one of its values that are not the default."""
    given = {}
    for name, facts in settable(connection).items():
        choices = values_of(name, facts)
        if choices and (name in settings.HARMLESS or name in settings.SETTLED or name in settings.SETTLED_BESIDES):
            given[name] = choices[round % len(choices)]
    assert len(given) > 100
    return given


@pytest.mark.parametrize("round", range(ROUNDS))
def test_no_setting_changes_what_is_read(database: Database, db: psycopg.Connection[Any], round: int) -> None:
    """The same schema, and the same bytes in each format."""
    before = answers(database)
    set_all(db, database, hostile(db, round))
    assert answers(database) == before


def test_no_setting_changes_what_is_read_on_another_server(contrib_database: Database) -> None:
    """The same on the older one."""
    with contrib_database.connect() as db:
        make(db)
        before = answers(contrib_database)
        set_all(db, contrib_database, hostile(db, 0))
        assert answers(contrib_database) == before


@pytest.mark.parametrize("round", [0, 1])
@pytest.mark.parametrize("transform", [None, lambda document: document], ids=["pg_copy", "rows"])
def test_no_setting_changes_what_is_written(
    database: Database, db: psycopg.Connection[Any], transform: Transform | None, round: int
) -> None:
    """An index that equals the table after a run, a sweep and a rebuild."""
    set_all(db, database, hostile(db, round))
    run = runner(database, transform=transform)

    assert run.run().counts.created == sum(map(len, VALUES.values()))
    assert Sweeper(run=run).sweep()[0].differing == ()
    Rebuilder(run=run).rebuild("20260501t000000")

    assert different(db, "nasty", "nasty_index") == []


def test_no_setting_makes_a_refused_document_take_others_with_it(database: Database) -> None:
    """With one value that does not fit, the others arrive."""
    with database.connect() as db:
        db.execute("CREATE TABLE nasty (id int PRIMARY KEY, note text, updated_at timestamptz DEFAULT now())")
        db.execute("INSERT INTO nasty VALUES (1, '1'), (2, 'two'), (3, '3')")
        set_all(db, database, hostile(db, 0))
    run = runner(database)
    run.target = PostgresTarget(database.conn_id, index="public.nasty_index", columns={"note": "integer"})
    outcome = run.run()
    assert (outcome.counts.created, outcome.counts.failures) == (2, 1)


def different(connection: psycopg.Connection[Any], table: str, index: str) -> list[tuple[Any, ...]]:
    texts = ", ".join(["id", *(f'"c{n}"::text' for n in range(len(VALUES)))])
    ours, theirs = (f"SELECT {texts} FROM {name}" for name in (table, index))
    return connection.execute(
        f"({ours} EXCEPT ALL {theirs}) UNION ALL ({theirs} EXCEPT ALL {ours})".encode()
    ).fetchall()


@pytest.mark.parametrize(
    ("given", "held"),
    [("off", "on"), ("local", "on"), ("remote_write", "on"), ("on", "on"), ("remote_apply", "remote_apply")],
)
def test_what_is_acknowledged_is_safe(database: Database, given: str, held: str) -> None:
    """Our commits wait for the disk and the standbys, whatever the database says; a stronger wish stays."""
    with database.connect() as db:
        set_all(db, database, {"synchronous_commit": given})
    with connect(database.conn_id, owner="target", tag=settings.WRITER_TAG) as writer, transaction(writer):
        assert writer.execute("SHOW synchronous_commit").fetchone() == (held,)


@pytest.mark.parametrize("name", sorted(settings.REFUSED))
def test_a_session_that_would_hide_damage_is_refused(database: Database, name: str) -> None:
    """With the setting and what undoes it, on either side."""
    with database.connect() as db:
        set_all(db, database, {name: settings.REFUSED[name]})
    run = runner(database)
    for opened in (run.source.open(), run.target.open("stream")):
        with pytest.raises(ConfigurationError, match=rf"{database.conn_id}.*{name} = on.*RESET {name}"), opened:
            pass


def test_a_run_without_changes_takes_six_transactions(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is three round trips, and the server may lie far away. Two sessions begin with one that looks at the server; the
    plan adds two of the source and two of the target, and closing the run none."""
    with database.connect() as db:
        db.execute("CREATE TABLE idle (id int PRIMARY KEY, updated_at timestamptz NOT NULL DEFAULT now())")
        db.execute("CREATE INDEX ON idle (updated_at, id)")
    source = PostgresSource(database.conn_id, table="idle", primary_key="id", cursor_field="updated_at")
    run = Runner(source=source, target=PostgresTarget(database.conn_id, index="public.idle_index"))
    run.run()
    begun = 0
    begin = transactions.begin

    def counted(connection: psycopg.Connection[Any]) -> None:
        nonlocal begun
        begun += 1
        begin(connection)

    monkeypatch.setattr(transactions, "begin", counted)
    plan = run.plan()
    assert not plan.batches
    assert plan.window is not None
    run.settle(plan, [])
    assert begun == 6


def test_a_reader_without_a_path_needs_no_temporary_schema(
    database: Database, db: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role whose search path is empty, as is advised, and that may make no temporary tables: none is made for it to be read."""
    monkeypatch.setenv("AIRFLOW_CONN_POOR", database.uri.replace("postgres@", "pathless@"))
    db.execute(
        "CREATE ROLE pathless LOGIN; ALTER ROLE pathless SET search_path = ''; GRANT SELECT ON nasty TO pathless"
    )
    db.execute(f"REVOKE TEMPORARY ON DATABASE {database.name} FROM public")
    try:
        source = PostgresSource("poor", table="public.nasty", primary_key="id", cursor_field="updated_at")
        with source.open() as session:
            assert session.schema().primary_key == ("id",)
    finally:
        db.execute("DROP OWNED BY pathless; DROP ROLE pathless")


def test_a_strangers_temporary_table_is_not_read(database: Database, db: psycopg.Connection[Any]) -> None:
    """In a session of a pool one may lie before the table, on everybody's search path."""
    db.execute(
        "CREATE TABLE things (id int PRIMARY KEY, updated_at timestamptz DEFAULT now()); INSERT INTO things VALUES (1)"
    )
    source = PostgresSource(database.conn_id, table="things", primary_key="id", cursor_field="updated_at")
    with source.open() as session, contextlib.suppress(StopIteration):
        raw = psycopg.Cursor(session._connection)  # type: ignore[attr-defined]
        raw.execute("CREATE TEMPORARY TABLE things (id int PRIMARY KEY, updated_at timestamptz)")
        assert [kind.name for kind in session.schema().fields] == ["id", "updated_at"]
        window = Window(None, Position("2999-01-01 00:00:00+00"))
        chunks = session.read(Batch("s", "g", 0, 1, window, 1), format=Format.ROWS, fields=["id"], chunk_rows=5)
        assert [document.key for chunk in chunks for document in chunk.payload] == [("1",)]
