"""An integer cursor whose counter went back: refused with what to do, while deletions of the newest rows are not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.core.errors import CheckpointInvalidError, HorizonError
from airflow_reindex_provider.core.model import Mode
from airflow_reindex_provider.core.remembered import STREAM
from airflow_reindex_provider.core.windows import Request
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.memory import MemoryCheckpoint
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner

TRIGGER = """
CREATE SEQUENCE "the change";
CREATE TABLE items (id int PRIMARY KEY, note text, v bigint);
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.v := nextval('"the change"'); RETURN NEW; END $$;
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION stamp();
"""
TABLES = {
    "default": "CREATE SEQUENCE s; CREATE TABLE items (id int PRIMARY KEY, note text, v bigint DEFAULT nextval('s'));",
    "serial": "CREATE TABLE items (id int PRIMARY KEY, note text, v bigserial);",
    "identity": "CREATE TABLE items (id int PRIMARY KEY, note text, v bigint GENERATED ALWAYS AS IDENTITY);",
    "function": "CREATE SEQUENCE s; CREATE FUNCTION next_v() RETURNS bigint LANGUAGE sql AS $$ SELECT nextval('s') $$;"
    "CREATE TABLE items (id int PRIMARY KEY, note text, v bigint DEFAULT next_v());",
    "trigger": TRIGGER,
}
SEQUENCE = {"serial": "items_v_seq", "identity": "items_v_seq", "trigger": '"the change"'}


def runner(database: Database, **options: Any) -> Runner:
    given = {"table": "items", "primary_key": "id", "cursor_field": "v", **options}
    return Runner(
        source=PostgresSource(database.conn_id, **given), target=PostgresTarget(database.conn_id, index="items_index")
    )


def insert(db: psycopg.Connection[Any], first: int, last: int) -> None:
    db.execute("INSERT INTO items (id, note) SELECT n, 'x' FROM generate_series(%s::int, %s::int) n", [first, last])


def loaded(database: Database, ddl: str) -> tuple[Runner, psycopg.Connection[Any]]:
    db = database.connect()
    db.execute(ddl)
    insert(db, 1, 20)
    run = runner(database)
    assert run.run().counts.created == 20
    return run, db


def set_back(db: psycopg.Connection[Any], table: str, how: str) -> None:
    sequence = SEQUENCE.get(table, "s")
    if how == "restored":
        db.execute("DELETE FROM items WHERE v > 12")
        db.execute("SELECT setval(%s, 12)", [sequence])
        insert(db, 101, 103)
    elif how == "setval alone":
        db.execute("SELECT setval(%s, 5)", [sequence])
    elif how == "truncated":
        db.execute("TRUNCATE items")
        db.execute(f"ALTER SEQUENCE {sequence} RESTART")
    elif how == "truncated, with new rows":
        db.execute("TRUNCATE items")
        db.execute(f"ALTER SEQUENCE {sequence} RESTART")
        insert(db, 101, 103)


@pytest.mark.parametrize("how", ["restored", "setval alone", "truncated", "truncated, with new rows"])
@pytest.mark.parametrize("table", list(TABLES))
def test_a_counter_that_went_back_is_refused(database: Database, table: str, how: str) -> None:
    """Before anything is read; the message names both figures, the sequence, what to do and where the checkpoint is."""
    run, db = loaded(database, TABLES[table])
    with db:
        set_back(db, table, how)
        with pytest.raises(CheckpointInvalidError) as caught:
            run.plan()
        for text in ("21", SEQUENCE.get(table, "s"), "Rebuild", "reset("):
            assert text in str(caught.value)
        db.execute("SELECT setval(%s, 100)", [SEQUENCE.get(table, "s")])
        insert(db, 900, 901)
        if how.startswith("truncated"):
            # That it is another counter stays known until a person has said that it does not matter.
            with pytest.raises(CheckpointInvalidError, match="accept_changes"):
                run.plan()
            run.store.reset("stream", STREAM)
        assert run.run().counts.created == 2


@pytest.mark.parametrize("table", list(TABLES))
def test_newest_rows_that_were_deleted_are_no_counter_that_went_back(database: Database, table: str) -> None:
    """The sequence stands where it stood, so what comes next lies past the checkpoint; also where no row is left."""
    run, db = loaded(database, TABLES[table])
    with db:
        db.execute("DELETE FROM items WHERE v > 12")
        assert run.run().counts.processed == 0
        db.execute("DELETE FROM items")
        assert run.run().counts.processed == 0
        insert(db, 101, 103)
        assert run.run().counts.created == 3


def test_transaction_ids_are_a_counter_too(database: Database) -> None:
    """Deleting the newest rows is nothing; a checkpoint past the server's counter is of another server."""
    ddl = "CREATE TABLE items (id int PRIMARY KEY, note text, v xid8 DEFAULT pg_current_xact_id());"
    run, db = loaded(database, ddl)
    with db:
        db.execute("DELETE FROM items WHERE id > 10")
        assert run.run().counts.processed == 0
        db.execute("TRUNCATE items")
        assert run.run().counts.processed == 0
        generation = run.plan().generation
        text = run.store.texts["stream", generation]  # type: ignore[attr-defined]
        cursor = run.store.load("stream", generation).position
        assert cursor is not None
        run.store.texts["stream", generation] = text.replace(cursor.cursor, "123456789012")  # type: ignore[attr-defined]
        with pytest.raises(CheckpointInvalidError, match="counter of transactions hands out"):
            run.plan()


UNSEEN = {
    "no sequence": ("CREATE TABLE items (id int PRIMARY KEY, note text, v bigint);", {}, "no sequence of 'v'"),
    "a view": (
        "CREATE TABLE t (id int PRIMARY KEY, note text, v bigint); CREATE VIEW items AS SELECT * FROM t;",
        {"lag": 0},
        "no sequence of 'v'",
    ),
}


@pytest.mark.parametrize("table", list(UNSEEN))
def test_values_from_elsewhere_that_went_back_are_refused(database: Database, table: str) -> None:
    """Nobody can tell a restore from a deletion of the newest rows there; the message has the remedy for both."""
    ddl, options, why = UNSEEN[table]
    with database.connect() as db:
        db.execute(ddl)
        db.execute("INSERT INTO items SELECT n, 'x', n FROM generate_series(1, 20) n")
        run = runner(database, **options)
        run.run()
        assert run.run().counts.processed == 0
        db.execute("DELETE FROM items WHERE v > 12")
        with pytest.raises(
            CheckpointInvalidError, match=f"(?s)greatest value of a row is 12.*{why}.*set the cursor to 1"
        ):
            run.plan()
        db.execute("DELETE FROM items")
        with pytest.raises(CheckpointInvalidError, match="no row has a value"):
            run.plan()


@pytest.mark.parametrize("wrong", ["CACHE 20", "CYCLE", "INCREMENT -1 MINVALUE -100 MAXVALUE 100 START 100"])
def test_a_sequence_that_is_out_of_order_is_refused(database: Database, wrong: str) -> None:
    """A session that has cached values hands out low ones late; a lag is a statement about that."""
    with database.connect() as db:
        db.execute(f"CREATE SEQUENCE s {wrong}")
        db.execute("CREATE TABLE items (id int PRIMARY KEY, note text, v bigint DEFAULT nextval('s'))")
        insert(db, 1, 3)
        with pytest.raises(HorizonError, match=r"ALTER SEQUENCE s .*; or state lag"):
            runner(database).plan()
        assert runner(database, lag=50).plan().mode


def test_a_sequence_that_the_role_may_not_read(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is refused while values only grow; where they went back, the grant that tells the two apart is in the message."""
    with database.connect() as db:
        db.execute(
            "CREATE SEQUENCE s; CREATE TABLE items (id int PRIMARY KEY, note text, v bigint DEFAULT nextval('s'))"
        )
        insert(db, 1, 20)
        db.execute("CREATE ROLE only_reads LOGIN")
        try:
            db.execute("GRANT SELECT ON items TO only_reads; GRANT pg_read_all_stats TO only_reads")
            monkeypatch.setenv("AIRFLOW_CONN_ONLY_READS", database.uri.replace("postgres@", "only_reads@"))
            source = PostgresSource("only_reads", table="items", primary_key="id", cursor_field="v")
            from airflow_reindex_provider.sources.postgres.counters import stand
            from airflow_reindex_provider.sources.postgres.relations import Relations

            with source.open() as session:
                connection = session._connection
                counter, _, _ = stand(source, Relations.described(source, connection).changes, connection)
            assert (counter.greatest, counter.least) == (20, None)
            assert 'GRANT SELECT ON SEQUENCE s TO "only_reads"' in counter.what
        finally:
            db.execute("DROP OWNED BY only_reads")
            db.execute("DROP ROLE only_reads")


AHEAD = {
    "identity": "CREATE TABLE items (id int PRIMARY KEY, note text, v int GENERATED BY DEFAULT AS IDENTITY)",
    "a sequence that is short": "CREATE TABLE items (id int PRIMARY KEY, note text, v smallserial)",
    "transaction ids": "CREATE TABLE items (id int PRIMARY KEY, note text, v xid8 DEFAULT pg_current_xact_id())",
}


@pytest.mark.parametrize("table", AHEAD)
def test_a_value_that_was_not_handed_out_yet_is_refused(database: Database, table: str) -> None:
    """One row's ``32000``, which means never, would take the checkpoint along, and all that comes until then would be skipped.
    The stream goes on once the row has another value."""
    with database.connect() as db:
        db.execute(AHEAD[table])
        insert(db, 1, 3)
        run = runner(database)
        run.run()
        value = "'4000000000'::xid8" if "xid" in AHEAD[table] else "32000"
        db.execute(f"INSERT INTO items VALUES (90, 'x', {value}), (91, 'x', {value})")
        with pytest.raises(HorizonError, match=r"the cursor value \d+, and .* hands out \d+ next.*state a lag"):
            run.run()
        db.execute("DELETE FROM items WHERE id = 90; UPDATE items SET v = DEFAULT WHERE id = 91")
        insert(db, 4, 6)
        assert run.run().counts.created == 4


@pytest.mark.parametrize("type", ["smallint", "int", "bigint"])
def test_the_ends_of_a_type(database: Database, type: str) -> None:
    """The least and the greatest value of a column are read; but no number lies behind the greatest of all."""
    bits = {"smallint": 15, "int": 31, "bigint": 63}[type]
    with database.connect() as db:
        db.execute(f"CREATE TABLE items (id int PRIMARY KEY, note text, v {type}); CREATE INDEX ON items (v, id)")
        db.execute(f"INSERT INTO items VALUES (1, 'x', {-(2**bits)}), (2, 'x', -1), (3, 'x', {2**bits - 2})")
        run = runner(database)
        assert run.run().counts.created == 3
        db.execute(f"INSERT INTO items VALUES (4, 'x', {2**bits - 1})")
        if type == "bigint":
            with pytest.raises(HorizonError, match="the greatest value that there is"):
                run.plan()
        else:
            assert run.run().counts.created == 1
            window = run.plan(Request(mode=Mode.BACKFILL, start=-(2**40), end=2**40)).window
            assert window is not None
        # A lag may lead below the least one that the column has, or that there is.
        db.execute("DELETE FROM items WHERE id <> 1")
        lagging = replace(runner(database, lag=5), store=MemoryCheckpoint())
        assert lagging.plan().rows == 0
