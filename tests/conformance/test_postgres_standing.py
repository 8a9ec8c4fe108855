"""A horizon speaks of rows that transactions of this server show and stamp. Of every kind of source: what is shown to be so
works, and the rest is refused until a lag is stated, with what it has to cover; nothing is written before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from airflow_reindex_provider.core.errors import ConfigurationError, HorizonError
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.sources.postgres.standing import ACCESS_METHODS, PERSISTENCE, RELATION_KINDS
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner

ITEMS = """
CREATE TABLE items (
    id int PRIMARY KEY, note text, tags text[] DEFAULT '{a}', created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON items (updated_at, id);
CREATE TABLE others (LIKE items INCLUDING ALL);
INSERT INTO items (id, note) SELECT n, 'note ' || n FROM generate_series(1, 3) n;
INSERT INTO others (id, note) SELECT n, 'other ' || n FROM generate_series(4, 6) n;
"""
FOREIGN = """
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER nowhere;
"""
PARTS = """
CREATE TABLE parts (id int, updated_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id);
CREATE TABLE parts_11 PARTITION OF parts_1 FOR VALUES FROM (0) TO (10);
CREATE INDEX ON parts (updated_at, id);
INSERT INTO parts VALUES (1), (2), (3);
"""


@pytest.fixture
def db(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with database.connect() as connection:
        connection.execute(ITEMS)
        yield connection


def runner(database: Database, **options: Any) -> Runner:
    given = {"primary_key": "id", "cursor_field": "updated_at", "margin": timedelta(0), **options}
    if "query" not in given:
        given.setdefault("table", "public.items")
    return Runner(
        source=PostgresSource(database.conn_id, **given), target=PostgresTarget(database.conn_id, index="items_index")
    )


def lagging(run: Runner, lag: timedelta | int = timedelta(0)) -> Runner:
    return replace(run, source=replace(run.source, lag=lag))  # type: ignore[type-var]


def refused(run: Runner, *said: str, error: type[Exception] = HorizonError) -> str:
    with pytest.raises(error) as caught:
        run.run()
    message = str(caught.value)
    for text in (*said, "on connection"):
        assert text in message, message
    return message


def made(connection: psycopg.Connection[Any]) -> int:
    """How many tables and views of ours there are."""
    row = connection.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'items_index%'").fetchone()
    assert row is not None
    return int(row[0])


# -- relations


UNVOUCHED = {
    "materialized view": ("CREATE MATERIALIZED VIEW s AS SELECT * FROM items", "materialized view", "refresh"),
    "foreign table": (
        FOREIGN + "CREATE FOREIGN TABLE s (id int, updated_at timestamptz) SERVER elsewhere",
        "public.s is a foreign table",
        "another server",
    ),
    "foreign partition": (
        FOREIGN
        + "CREATE TABLE s (id int, updated_at timestamptz) PARTITION BY RANGE (id);"
        + "CREATE TABLE s_here PARTITION OF s FOR VALUES FROM (0) TO (10);"
        + "CREATE FOREIGN TABLE s_there PARTITION OF s FOR VALUES FROM (10) TO (20) SERVER elsewhere",
        "public.s_there is a foreign table",
        "another server",
    ),
    "foreign child": (
        FOREIGN
        + "CREATE TABLE s (id int PRIMARY KEY, updated_at timestamptz);"
        + "CREATE FOREIGN TABLE s_there () INHERITS (s) SERVER elsewhere",
        "public.s_there is a foreign table",
        "another server",
    ),
    "view of a materialized view": (
        "CREATE MATERIALIZED VIEW m AS SELECT * FROM items; CREATE VIEW v AS SELECT * FROM m; CREATE VIEW s AS TABLE v",
        "public.m is a materialized view",
        "refresh",
    ),
    "view of the catalogue": (
        "CREATE VIEW s AS SELECT oid AS id, now() AS updated_at FROM pg_class",
        "pg_catalog.pg_class belongs to Postgres itself",
        "no transaction stamps its rows",
    ),
}


@pytest.mark.parametrize("kind", UNVOUCHED)
def test_what_other_transactions_show_needs_a_lag(database: Database, db: psycopg.Connection[Any], kind: str) -> None:
    """The message names the relation that is of such a kind, and what a lag has to cover; nothing is made."""
    ddl, *said = UNVOUCHED[kind]
    db.execute(ddl)
    refused(runner(database, table="public.s"), *said, "state lag (a timedelta")
    assert made(db) == 0
    if "foreign" not in kind and kind != "view of the catalogue":
        assert lagging(runner(database, table="public.s")).run().counts.created == 3


@pytest.mark.parametrize(
    "ddl",
    [
        "CREATE SEQUENCE s",
        "CREATE TYPE s AS (id int, updated_at timestamptz)",
        "CREATE INDEX s ON items (note)",
        PARTS + "CREATE INDEX s ON parts (id)",
    ],
)
def test_what_holds_no_rows_is_no_source(database: Database, db: psycopg.Connection[Any], ddl: str) -> None:
    """With a lag or without."""
    db.execute(ddl)
    for run in (runner(database, table="public.s"), lagging(runner(database, table="public.s"))):
        refused(run, "neither a table nor a view", error=ConfigurationError)


def test_a_table_of_the_catalogue(database: Database) -> None:
    """Nobody stamps its rows."""
    run = runner(database, table="pg_catalog.pg_statistic_ext_data", primary_key="stxoid", cursor_field="stxdinherit")
    refused(run, "stxdinherit", error=ConfigurationError)
    stats = runner(database, table="pg_catalog.pg_stat_database", primary_key="datid", cursor_field="stats_reset")
    refused(stats, "state lag")


def test_partitions_are_as_their_table(database: Database, db: psycopg.Connection[Any]) -> None:
    """Of any depth."""
    db.execute(PARTS)
    run = runner(database, table="public.parts")
    assert run.plan().warnings == ()
    assert run.run().counts.created == 3


def test_an_unlogged_table_is_said_to_be_one(database: Database, db: psycopg.Connection[Any]) -> None:
    """A crash empties it, and the index keeps its documents."""
    db.execute("ALTER TABLE items SET UNLOGGED")
    outcome = runner(database).run()
    (warning,) = outcome.plan.warnings
    assert "public.items is unlogged" in warning
    assert "sweep" in warning


def test_every_kind_of_the_server_is_on_the_list(database: Database, db: psycopg.Connection[Any]) -> None:
    """Whatever the server's own catalogue has, and one of everything that can be made."""
    _one_of_everything(db)


def test_every_kind_of_the_installed_server_is_on_the_list(contrib_database: Database) -> None:
    """Of another version."""
    with contrib_database.connect() as connection:
        connection.execute(ITEMS)
        _one_of_everything(connection)


def _one_of_everything(db: psycopg.Connection[Any]) -> None:
    db.execute(PARTS + FOREIGN)
    db.execute("CREATE FOREIGN TABLE f (id int) SERVER elsewhere; CREATE MATERIALIZED VIEW m AS SELECT 1 AS one")
    db.execute(
        "CREATE VIEW v AS SELECT 1 AS one; CREATE SEQUENCE s; CREATE TYPE c AS (id int); CREATE UNLOGGED TABLE u ()"
    )
    db.execute("CREATE TEMP TABLE t (id int)")
    found = {kind for (kind,) in db.execute("SELECT DISTINCT relkind FROM pg_class")}
    assert found == set(RELATION_KINDS)
    found = {kind for (kind,) in db.execute("SELECT DISTINCT relpersistence FROM pg_class")}
    assert found == set(PERSISTENCE)
    found = {name for (name,) in db.execute("SELECT amname FROM pg_am WHERE amtype = 't'")}
    assert found == ACCESS_METHODS


# -- replication


def test_what_a_subscription_fills_needs_a_lag(database: Database, db: psycopg.Connection[Any]) -> None:
    """The table, one that it is a part of, and a view of it."""
    db.execute(PARTS + "CREATE VIEW seen AS SELECT id, updated_at FROM parts")
    db.execute("CREATE SUBSCRIPTION sub CONNECTION 'dbname=nowhere' PUBLICATION pub WITH (connect = false)")
    try:
        db.execute("INSERT INTO pg_subscription_rel SELECT oid, 'parts'::regclass, 'r', NULL FROM pg_subscription")
        for table in ("parts", "parts_11", "seen"):
            run = runner(database, table=f"public.{table}")
            refused(run, "is filled by the subscription sub,", "stamps of another server", "state lag (a timedelta")
        assert made(db) == 0
        for table in ("parts", "parts_11", "seen"):
            assert lagging(runner(database, table=f"public.{table}")).plan().rows == 3
        assert runner(database).plan().rows == 3
    finally:
        db.execute("ALTER SUBSCRIPTION sub SET (slot_name = NONE); DROP SUBSCRIPTION sub")


def test_another_systems_replication_is_said(database: Database, db: psycopg.Connection[Any]) -> None:
    """Which tables it writes the catalogue cannot tell."""
    db.execute("SELECT pg_replication_origin_create('other tool')")
    try:
        (warning,) = runner(database).plan().warnings
        assert "replication origin 'other tool'" in warning
        assert lagging(runner(database)).plan().warnings == ()
    finally:
        db.execute("SELECT pg_replication_origin_drop('other tool')")


def test_a_foreign_table_loses_no_late_row(
    contrib_database: Database, contrib_postgres: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused without a lag, in a view and a query too; with one that covers the transaction there, the row comes."""
    remote = contrib_postgres.create_database(f"{contrib_database.name}_remote")
    where = conninfo_to_dict(contrib_database.dsn)
    with contrib_database.connect() as db, remote.connect() as there:
        there.execute("CREATE TABLE items (id int PRIMARY KEY, updated_at timestamptz NOT NULL DEFAULT now())")
        there.execute("INSERT INTO items VALUES (1)")
        db.execute("CREATE EXTENSION postgres_fdw; CREATE EXTENSION dblink")
        db.execute(
            f"CREATE SERVER there FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{where['host']}', dbname '{remote.name}');"
            " CREATE USER MAPPING FOR CURRENT_USER SERVER there OPTIONS (user 'postgres');"
            " IMPORT FOREIGN SCHEMA public LIMIT TO (items) FROM SERVER there INTO public;"
            " CREATE VIEW seen AS SELECT * FROM items"
        )
        linked = f"SELECT * FROM dblink('{remote.dsn}', 'SELECT * FROM items') AS t(id int, updated_at timestamptz)"
        refused(runner(contrib_database), "public.items is a foreign table")
        refused(runner(contrib_database, table="public.seen"), "public.items is a foreign table")
        refused(runner(contrib_database, query="SELECT * FROM items WHERE id > 0"), "public.items is a foreign table")
        refused(runner(contrib_database, query="SELECT a.* FROM items a JOIN items b USING (id)"), "foreign table")
        refused(runner(contrib_database, query=linked), "reads the result of a function, public.dblink()")
        run = lagging(runner(contrib_database), timedelta(seconds=1))
        with remote.connect() as late:
            late.execute("BEGIN; INSERT INTO items VALUES (2)")
            run.run()
            late.execute("COMMIT")
        time.sleep(1.1)
        run.run()
        assert db.execute("SELECT array_agg(id ORDER BY id) FROM items_index").fetchone() == ([1, 2],)
    contrib_postgres.drop_database(remote.name)


# -- views and queries


PLAIN = {
    "all": "SELECT * FROM items",
    "some": "SELECT id, upper(note) AS note, updated_at FROM items WHERE note <> 'x' AND id > 0",
    "a comment": "SELECT * FROM items -- all of them",
    "a semicolon": "SELECT * FROM items;\n",
    "ordered": "SELECT * FROM items ORDER BY note",
    "a WITH": "WITH x AS (SELECT * FROM items) SELECT * FROM x",
    "the table": "TABLE items",
    "another name": "SELECT id, updated_at AS changed FROM items AS r",
    "quoted": 'SELECT "updated at", id FROM (SELECT updated_at AS "updated at", id FROM items) AS "my ""items"""',
    "one of two": "SELECT id, coalesce(updated_at, created_at) AS updated_at FROM items",
    "the later of two": "SELECT id, greatest(updated_at, created_at) AS updated_at FROM items",
    "several tables": "SELECT id, updated_at FROM items UNION ALL SELECT id, updated_at FROM others WHERE id > 10",
    "unnested": "SELECT id, unnest(tags) AS tag, updated_at FROM items",
    "partitions": "SELECT * FROM parts WHERE id < 10",
    "children": "SELECT * FROM parent",
}
CURSORS = {"another name": "changed", "quoted": "updated at"}
FURTHER = PARTS + (
    "CREATE TABLE parent (id int PRIMARY KEY, updated_at timestamptz DEFAULT now()); CREATE TABLE child () INHERITS (parent);"
    "INSERT INTO parent VALUES (1), (2); INSERT INTO child VALUES (3);"
)


@pytest.mark.parametrize("as_view", [False, True], ids=["query", "view"])
@pytest.mark.parametrize("name", PLAIN)
def test_rows_of_one_table_each_need_no_lag(
    database: Database, db: psycopg.Connection[Any], name: str, as_view: bool
) -> None:
    """Where each row is one row of a table and the cursor a column of it, late commits are seen as in the table."""
    db.execute(FURTHER)
    options: dict[str, Any] = {"query": PLAIN[name], "cursor_field": CURSORS.get(name, "updated_at")}
    if as_view:
        options["table"] = "public.seen"
        db.execute(f"CREATE VIEW seen AS {options.pop('query')}")
    outcome = runner(database, **options).run()
    assert outcome.counts.created == 3
    assert outcome.plan.warnings == ()


DOUBTFUL = {
    "a join": ("SELECT i.*, o.note AS other FROM items i LEFT JOIN others o ON o.note = i.note", "joins relations"),
    "the later of two tables": (
        "SELECT i.id, greatest(i.updated_at, o.updated_at) AS updated_at FROM items i JOIN others o ON o.id = i.id + 3",
        "joins relations",
    ),
    "an IN": ("SELECT * FROM items WHERE id IN (SELECT id FROM others)", ""),
    "a NOT IN": ("SELECT * FROM items WHERE id NOT IN (SELECT id FROM others)", "reads other rows in a subquery"),
    "a scalar": ("SELECT *, (SELECT max(note) FROM others) AS most FROM items", "reads other rows in a subquery"),
    "a cursor from there": ("SELECT id, (SELECT max(updated_at) FROM others) AS updated_at FROM items", "subquery"),
    "groups": (
        "SELECT note, max(id) AS id, max(updated_at) AS updated_at FROM items GROUP BY note",
        "one row of several",
    ),
    "distinct": ("SELECT DISTINCT ON (note) * FROM items ORDER BY note, updated_at", "one row of several"),
    "a window": ("SELECT id, lead(updated_at, 1, updated_at) OVER () AS updated_at FROM items", "one row of several"),
    "a union": ("SELECT id, updated_at FROM items UNION SELECT id, updated_at FROM others", "one row of several"),
    "an end": ("SELECT * FROM items ORDER BY updated_at LIMIT 10", "ends after a number of rows"),
    "a sample": ("SELECT * FROM items TABLESAMPLE system (100)", "reads a sample"),
    "a function": ("SELECT id, now() AS updated_at FROM generate_series(1, 3) id", "pg_catalog.generate_series()"),
    "values": ("SELECT * FROM (VALUES (1, now()), (2, now())) AS v(id, updated_at)", "in no table"),
    "nothing": ("SELECT 1 AS id, now() AS updated_at", "in no table"),
    "a computed cursor": (
        "SELECT id, updated_at - interval '1 hour' AS updated_at FROM items",
        "computes its cursor field",
    ),
    "the present": ("SELECT id, now() AS updated_at FROM items", "computes its cursor field as now()"),
    "a cursor or a constant": ("SELECT id, coalesce(updated_at, '2020-01-01') AS updated_at FROM items", "computes"),
    "the earlier of two": ("SELECT id, least(updated_at, created_at) AS updated_at FROM items", "computes"),
    "one branch computes": (
        "SELECT id, updated_at FROM items UNION ALL SELECT id, updated_at + interval '1 h' FROM others",
        "computes its cursor field",
    ),
    "a loop": (
        "WITH RECURSIVE w AS (SELECT id, updated_at FROM items UNION ALL SELECT id + 10, updated_at FROM w WHERE id < 5)"
        " SELECT * FROM w",
        "result of a WITH",
    ),
    "sessions": ("SELECT pid AS id, backend_start AS updated_at FROM pg_stat_activity", ""),
}


@pytest.mark.parametrize("as_view", [False, True], ids=["query", "view"])
@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_cannot_be_shown_to_be_safe_needs_a_lag(
    database: Database, db: psycopg.Connection[Any], name: str, as_view: bool
) -> None:
    """Rows that several make, or whose cursor is computed; the message says what is in the way."""
    query, said = DOUBTFUL[name]
    options: dict[str, Any] = {"query": query}
    if as_view:
        options = {"table": "public.seen"}
        db.execute(f"CREATE VIEW seen AS {query}")
    refused(runner(database, **options), said, "state lag (a timedelta")
    assert made(db) == 0
    assert "lag" in lagging(runner(database, **options)).plan().horizon_basis


def test_a_condition_on_the_time_is_said(database: Database, db: psycopg.Connection[Any]) -> None:
    """A row that begins to match without a change is not seen."""
    query = "SELECT * FROM items WHERE created_at <= now()"
    (warning,) = runner(database, query=query).run().plan.warnings
    assert "created_at <= now()" in warning


@pytest.mark.parametrize(
    "column", ["now() - created_at", "age(created_at)", "created_at > 'today' OR clock_timestamp() IS NULL"]
)
def test_a_column_of_the_time_is_said(database: Database, db: psycopg.Connection[Any], column: str) -> None:
    """Every sweep of content would find it different."""
    db.execute(f"CREATE VIEW seen AS SELECT id, {column} AS age, updated_at FROM items")
    (warning,) = runner(database, table="public.seen").plan().warnings
    assert "hangs on the time of reading" in warning
    assert "Leave it out" in warning


def test_a_filter_on_the_time_is_said(database: Database, db: psycopg.Connection[Any]) -> None:
    """Of a table as of a view's condition."""
    (warning,) = runner(database, row_filter="created_at <= CURRENT_TIMESTAMP").plan().warnings
    assert "row_filter hangs on the time of reading" in warning
    assert runner(database, row_filter="created_at <= '2030-01-01'").plan().warnings == ()


@pytest.mark.parametrize(
    "query",
    [
        "SELECT id, random() AS note, updated_at FROM items",
        "SELECT id, look_up(note) AS note, updated_at FROM items",
        "SELECT * FROM items WHERE look_up(note) IS NOT NULL",
        'SELECT id, "My look-up"(id) AS note, updated_at FROM items',
        "SELECT id, note, updated_at FROM items WHERE id = 1 UNION ALL SELECT id, look_up(note), updated_at FROM others",
    ],
)
def test_a_function_that_may_look_elsewhere_is_said(
    database: Database, db: psycopg.Connection[Any], query: str
) -> None:
    """By its volatility; what is immutable, or Postgres' own and not volatile, is not spoken of."""
    body = "LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT max(note) FROM others); END'"
    db.execute(f"CREATE FUNCTION look_up(text) RETURNS text STABLE {body}")
    db.execute(f'CREATE FUNCTION "My look-up"(int) RETURNS text VOLATILE {body}')
    db.execute("CREATE FUNCTION same(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN $1; END'")
    (warning,) = runner(database, query=query).run().plan.warnings
    assert "ook" in warning or "pg_catalog.random" in warning
    assert "without a change of the row" in warning
    query = "SELECT id, same(note) AS note, to_char(updated_at, 'YYYY') AS year, updated_at FROM items"
    with runner(database, query=query).source.open() as source:
        assert source.survey().warnings == ()


def test_a_role_needs_no_other_columns_than_it_reads(
    database: Database, db: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a view that it may see some columns of, whose table it may not see."""
    db.execute("CREATE VIEW seen AS SELECT * FROM items; CREATE ROLE some_columns LOGIN")
    db.execute("GRANT SELECT (id, updated_at, note) ON seen TO some_columns; GRANT pg_read_all_stats TO some_columns")
    db.execute("GRANT CREATE, USAGE ON SCHEMA public TO some_columns")
    try:
        monkeypatch.setenv("AIRFLOW_CONN_SOME_COLUMNS", database.uri.replace("postgres@", "some_columns@", 1))
        run = runner(database, table="public.seen", columns=("note",))
        run = replace(run, source=replace(run.source, conn_id="some_columns"))  # type: ignore[type-var]
        assert run.run().counts.created == 3
    finally:
        db.execute("DROP OWNED BY some_columns; DROP ROLE some_columns")


@pytest.mark.parametrize("option", ["security_barrier", "security_invoker"])
def test_a_view_with_options(database: Database, db: psycopg.Connection[Any], option: str) -> None:
    """Reads its table all the same."""
    db.execute(f"CREATE VIEW seen WITH ({option}) AS SELECT * FROM items WHERE note <> 'x'")
    assert runner(database, table="public.seen").run().counts.created == 3


def test_a_counter_behind_a_view(database: Database, db: psycopg.Connection[Any]) -> None:
    """A sequence that hands out values to several sessions at once is refused there too."""
    db.execute("CREATE TABLE counted (id serial PRIMARY KEY); ALTER SEQUENCE counted_id_seq CACHE 20")
    db.execute("CREATE VIEW seen AS SELECT id FROM counted; INSERT INTO counted DEFAULT VALUES")
    run = runner(database, table="public.seen", cursor_field="id")
    refused(run, "counted_id_seq", "increasing order", "CACHE 1")
    db.execute("ALTER SEQUENCE counted_id_seq CACHE 1")
    assert run.run().counts.created == 1


def test_a_late_row_is_seen_through_a_view(database: Database, db: psycopg.Connection[Any]) -> None:
    """The open transaction holds the view's horizon as it holds the table's."""
    db.execute("CREATE VIEW seen AS SELECT id, updated_at FROM items UNION ALL SELECT id, updated_at FROM others")
    run = runner(database, table="public.seen")
    with database.connect() as late:
        late.execute("BEGIN; INSERT INTO others (id) VALUES (7)")
        db.execute("INSERT INTO items (id) VALUES (8)")
        run.run()
        late.execute("COMMIT")
    run.run()
    assert db.execute("SELECT array_agg(id ORDER BY id) FROM items_index").fetchone() == (list(range(1, 9)),)
