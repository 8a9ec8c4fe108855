"""Deletions that triggers record are read like rows: in every format, below the horizon, and hidden where a row lives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from airflow_reindex_provider.control.tombstones import purge_tombstones
from airflow_reindex_provider.core.errors import ConfigurationError, TransientError
from airflow_reindex_provider.core.groups import GROUPS
from airflow_reindex_provider.core.model import Batch, Checkpoint, Format, Mode, Position, Transform, Window
from airflow_reindex_provider.core.windows import Request, Sizes
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.memory import MemoryCheckpoint
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.source_conformance import Made
from airflow_reindex_provider.testing.sweeps import Sweeper
from tests.conformance.test_postgres import (
    COMPOSITE,
    TEXT,
    UUID,
    Keys,
    PostgresSourceConformance,
    PostgresTable,
    from_arrays,
)

FORMATS = [
    pytest.param(None, id="pg_copy"),
    pytest.param(lambda row: row, id="rows"),
]


class WithTombstones(PostgresTable):
    """Every row that is put has a tombstone too, stamped later than the row: none of them may be seen."""

    def __init__(self, database: Database, keys: Keys, **options: Any) -> None:
        super().__init__(database, keys, tombstones=True, **options)
        self.source.install_tombstones()

    def clear(self) -> None:
        super().clear()
        # It has recorded the rows.
        self._connection.execute('TRUNCATE "t ""1""_tombstones"')

    def put(self, rows: Sequence[Made]) -> None:
        super().put(rows)
        columns = {**self._keys.columns, "changed": self.cursor_type}
        statement = sql.SQL(
            'INSERT INTO "t ""1""_tombstones" ({}) {} ON CONFLICT ({}) DO UPDATE SET changed = excluded.changed'
        )
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        values = [(*row.key, self.cursor((row.us or 0) + 1)) for row in rows]
        with psycopg.RawCursor(self._connection) as cursor:
            cursor.execute(
                statement.format(names, from_arrays(columns), self._names), list(map(list, zip(*values, strict=True)))
            )


class TestHiddenTombstones(PostgresSourceConformance):
    """All promises of a source hold while each of its rows hides a tombstone."""

    @classmethod
    def make(cls, database: Database) -> PostgresTable:
        return WithTombstones(database, TEXT)


class TestHiddenTombstonesOfACompositeKey(PostgresSourceConformance):
    """Three columns, with names that need quoting."""

    @classmethod
    def make(cls, database: Database) -> PostgresTable:
        return WithTombstones(database, COMPOSITE)


class TestHiddenTombstonesInLocalTime(PostgresSourceConformance):
    @classmethod
    def make(cls, database: Database) -> PostgresTable:
        class Local(WithTombstones):
            cursor_type = "timestamp"

            def cursor(self, us: int) -> str:
                return super().cursor(us)[:-6]

        return Local(database, UUID, cursor_timezone="America/New_York")


@pytest.fixture
def items(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """Ten rows with a domain that takes no NULL, and columns that do not either; touched by a trigger, as they should be."""
    with database.connect() as connection:
        connection.execute(
            "CREATE DOMAIN said AS text NOT NULL;"
            "CREATE TABLE items (id int PRIMARY KEY, body said DEFAULT 'text', n int NOT NULL DEFAULT 0,"
            " updated_at timestamptz NOT NULL DEFAULT now());"
            "CREATE INDEX ON items (updated_at, id);"
            "INSERT INTO items (id) SELECT generate_series(1, 10)"
        )
        yield connection


def _source(database: Database, **options: Any) -> PostgresSource:
    return PostgresSource(
        database.conn_id,
        **{
            "table": "public.items",
            "primary_key": "id",
            "cursor_field": "updated_at",
            "tombstones": True,
            "margin": timedelta(0),
            **options,
        },
    )


def _runner(database: Database, transform: Transform | None = None, **options: Any) -> Runner:
    source = _source(database, **options)
    source.install_tombstones()
    return Runner(
        source=source,
        target=PostgresTarget(database.conn_id, index="items_index"),
        transform=transform,
        sizes=Sizes(batch_rows=3, max_batches=64),
        chunk_rows=2,
    )


def _ids(connection: psycopg.Connection[Any]) -> list[int]:
    return [id for (id,) in connection.execute("SELECT id FROM items_index ORDER BY id")]


CHANGES = {
    "deleted": ("DELETE FROM items WHERE id > 3", [1, 2, 3]),
    "deleted by a cascade": (
        "CREATE TABLE owners (id int PRIMARY KEY); INSERT INTO owners VALUES (1);"
        "ALTER TABLE items ADD owner int REFERENCES owners ON DELETE CASCADE; UPDATE items SET owner = 1 WHERE id > 8;"
        "DELETE FROM owners",
        [1, 2, 3, 4, 5, 6, 7, 8],
    ),
    "truncated": ("TRUNCATE items", []),
    "truncated and filled again": ("TRUNCATE items; INSERT INTO items (id) VALUES (2), (11)", [2, 11]),
    "moved to another key": (
        "UPDATE items SET id = id + 100, updated_at = now() WHERE id > 8",
        [*range(1, 9), 109, 110],
    ),
    "moved there and back": (
        "UPDATE items SET id = 50, updated_at = now() WHERE id = 1; UPDATE items SET id = 1, updated_at = now() WHERE id = 50",
        list(range(1, 11)),
    ),
    "deleted and inserted again": ("DELETE FROM items; INSERT INTO items (id) VALUES (1), (2)", [1, 2]),
    "inserted and deleted": ("INSERT INTO items (id) VALUES (11); DELETE FROM items WHERE id = 11", list(range(1, 11))),
    "deleted as a replica": (
        "SET session_replication_role = replica; DELETE FROM items WHERE id > 3; RESET session_replication_role",
        [1, 2, 3],
    ),
}


@pytest.mark.parametrize("transform", FORMATS)
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_deleted_leaves_the_index(
    database: Database, items: psycopg.Connection[Any], transform: Transform | None, change: str
) -> None:
    """With the next run, however the row was deleted; in one transaction or in several."""
    run = _runner(database, transform)
    run.run()
    statements, left = CHANGES[change]
    for statement in statements.split(";"):
        items.execute(statement)  # type: ignore[call-overload]
    run.run()
    assert _ids(items) == left
    assert run.plan().batches == ()


@pytest.mark.parametrize("change", ["truncated and filled again", "deleted and inserted again", "moved there and back"])
def test_in_one_transaction(database: Database, items: psycopg.Connection[Any], change: str) -> None:
    """Tombstone and row carry one and the same time then; the row counts."""
    run = _runner(database)
    run.run()
    statements, left = CHANGES[change]
    with items.transaction():
        items.execute(statements)  # type: ignore[call-overload]
    run.run()
    assert _ids(items) == left


def test_bulk_lines_hold_deletions(database: Database, items: psycopg.Connection[Any]) -> None:
    """For a search engine, with the tombstone's time as the version."""
    source = _source(database)
    source.install_tombstones()
    items.execute("DELETE FROM items WHERE id > 1")
    with source.open() as session:
        horizon = session.survey().horizon.cursor
        assert horizon is not None
        window = Window(Position("2020-01-01 00:00:00+00"), Position(horizon))
        ((part, rows),) = session.slices(window, batch_rows=100, max_slices=1).parts
        batch = Batch("stream", "generation", 0, 1, part, rows)
        (chunk,) = session.read(batch, format=Format.BULK, fields=["id", "body"], chunk_rows=100)
        lines = b"".join(chunk.payload).decode().splitlines()  # type: ignore[arg-type]
    stamps = dict(
        items.execute("SELECT id::text, (extract(epoch FROM updated_at) * 1000000)::bigint FROM items_tombstones")
    )
    assert lines[1] == '{"id":1,"body":"text"}'
    assert lines[2:] == [
        f'{{"delete":{{"_id":"{id}","version":{stamps[str(id)]},"version_type":"external_gte"}}}}'
        for id in range(2, 11)
    ]


def test_a_row_put_back_by_an_older_transaction_counts(database: Database, items: psycopg.Connection[Any]) -> None:
    """Two transactions, the older of which inserts what the younger has deleted: the row's time is before the tombstone's,
    and nothing of either was read before both had ended."""
    run = _runner(database)
    run.run()
    with database.connect() as older:
        older.execute("BEGIN")
        older.execute("SELECT now()")
        items.execute("DELETE FROM items WHERE id = 1")
        run.run()
        assert 1 in _ids(items)
        older.execute("INSERT INTO items (id, n) VALUES (1, 7)")
        run.run()
        older.execute("COMMIT")
    stamps = items.execute(
        "SELECT i.updated_at < t.updated_at FROM items AS i JOIN items_tombstones AS t USING (id)"
    ).fetchall()
    assert stamps == [(True,)]
    run.run()
    assert items.execute("SELECT n FROM items_index WHERE id = 1").fetchall() == [(7,)]
    items.execute("DELETE FROM items WHERE id = 1")
    run.run()
    assert 1 not in _ids(items)


def test_a_late_commit_of_a_deletion_is_not_lost(database: Database, items: psycopg.Connection[Any]) -> None:
    """Its time is before rows that runs have seen meanwhile, and the horizon waits for it."""
    run = _runner(database)
    with database.connect() as late:
        late.execute("BEGIN")
        late.execute("DELETE FROM items WHERE id = 1")
        items.execute("INSERT INTO items (id) VALUES (11)")
        run.run()
        late.execute("COMMIT")
    run.run()
    assert _ids(items) == list(range(2, 12))


def test_a_backfill_brings_deletions_of_its_window(database: Database, items: psycopg.Connection[Any]) -> None:
    """And none of others."""
    run = _runner(database)
    run.run()
    (before,) = items.execute("SELECT clock_timestamp()").fetchone() or ()
    items.execute("DELETE FROM items WHERE id = 1")
    (after,) = items.execute("SELECT clock_timestamp()").fetchone() or ()
    items.execute("DELETE FROM items WHERE id = 2")
    outcome = run.run(Request(Mode.BACKFILL, start=str(before), end=str(after)))
    assert (outcome.counts.deleted, _ids(items)) == (1, list(range(2, 11)))


def test_a_first_load_that_was_cut_short(database: Database, items: psycopg.Connection[Any]) -> None:
    """What its first try had written and was deleted since is deleted by the next one, though that begins at the first row."""
    run = _runner(database)
    plan = run.plan()
    run.index(plan.batches[0])
    items.execute("DELETE FROM items WHERE id = 1")
    run.run()
    assert _ids(items) == list(range(2, 11))


@pytest.mark.parametrize("transform", FORMATS)
def test_a_late_write_does_not_bring_a_row_back(
    database: Database, items: psycopg.Connection[Any], transform: Transform | None
) -> None:
    """A process that has read the row before it was deleted, and writes it after the deletion was."""
    run = _runner(database, transform)
    run.run()
    items.execute("UPDATE items SET n = 1, updated_at = now() WHERE id = 1")
    plan = run.plan()
    with run.sessions() as (source, target):
        schema = source.schema()
        fields = target.fields(plan.generation, schema)
        with target.writer(plan.generation, schema, run.format) as writer:
            (chunk,) = source.read(plan.batches[0], format=run.format, fields=fields, chunk_rows=10)
            read = replace(chunk, payload=list(chunk.payload))
            items.execute("DELETE FROM items WHERE id = 1")
            run.run()
            assert writer.write(read).counts.version_conflicts == 1
    assert _ids(items) == list(range(2, 11))


def test_a_sweep_beside_tombstones(database: Database, items: psycopg.Connection[Any]) -> None:
    """Finds what no tombstone tells of, and does not take tombstones for rows."""
    run = _runner(database)
    run.run()
    items.execute("DELETE FROM items WHERE id IN (1, 2)")
    run.run()
    items.execute("ALTER TABLE items DISABLE TRIGGER ALL; DELETE FROM items WHERE id = 3")
    items.execute("ALTER TABLE items ENABLE TRIGGER ALL")
    run.source.install_tombstones()  # type: ignore[attr-defined]
    run.run()
    assert _ids(items) == list(range(3, 11))
    found, done = Sweeper(run=run, max_delete_fraction=0.5).sweep()
    assert (found.differences, done.counts.deleted, _ids(items)) == (1, 1, list(range(4, 11)))
    assert Sweeper(run=run).sweep()[0].differences == 0


@pytest.mark.parametrize(
    "harm",
    [
        "DROP TRIGGER items_tombstones_delete ON items",
        "DROP TRIGGER items_tombstones_truncate ON items",
        "ALTER TABLE items DISABLE TRIGGER items_tombstones_update",
        "ALTER TABLE items ENABLE TRIGGER items_tombstones_delete",
        "ALTER TABLE items DISABLE TRIGGER USER",
        "DROP INDEX items_tombstones_order",
        "CREATE OR REPLACE FUNCTION items_tombstones() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    ],
)
def test_a_stream_whose_deletions_are_not_recorded_stops(
    database: Database, items: psycopg.Connection[Any], harm: str
) -> None:
    """Before anything is read or written, with the statements that mend it; and they do."""
    run = _runner(database)
    items.execute(harm)  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match="deletions are not recorded") as raised:
        run.run()
    assert items.execute("SELECT to_regclass('items_index')").fetchall() == [(None,)]
    items.execute(str(raised.value).partition("\n")[2])  # type: ignore[call-overload]
    run.run()
    assert len(_ids(items)) == 10


def test_other_key_columns_than_the_triggers(database: Database, items: psycopg.Connection[Any]) -> None:
    """A stream whose key was changed since: the tombstones' table has to be made anew."""
    run = _runner(database)
    items.execute("ALTER TABLE items ADD UNIQUE (n, id)")
    run.source = replace(run.source, primary_key=("n", "id"))  # type: ignore[type-var]
    with pytest.raises(ConfigurationError, match=r"remove_tombstones\(\) first"):
        run.run()
    run.source.remove_tombstones()  # type: ignore[attr-defined]
    run.source.remove_tombstones()  # type: ignore[attr-defined]
    run.source.install_tombstones()  # type: ignore[attr-defined]
    run.run()
    assert len(_ids(items)) == 10


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cursor_field": "n"}, "counts"),
        ({"primary_key": ("id", "updated_at")}, "part of the primary_key"),
        ({"table": "public.shown"}, "no table"),
    ],
)
def test_what_cannot_have_tombstones(
    database: Database, items: psycopg.Connection[Any], options: dict[str, Any], said: str
) -> None:
    """Is told so."""
    items.execute("CREATE VIEW shown AS SELECT * FROM items")
    with pytest.raises(ConfigurationError, match=said):
        _source(database, **options).install_tombstones()


@pytest.mark.parametrize(
    "make",
    [
        lambda: PostgresSource("db", query="SELECT 1", primary_key="id", cursor_field="at", tombstones=True),
        lambda: PostgresSource("db", table="t" * 50, primary_key="id", cursor_field="at", tombstones=True),
        lambda: PostgresSource("db", table="t", primary_key="id", cursor_field="at").tombstone_ddl(),
    ],
)
def test_options_that_cannot_be_right(make: Callable[[], object]) -> None:
    """Are refused where the Dag file is read."""
    with pytest.raises(ConfigurationError, match="tombstones"):
        make()


def test_a_truncate_that_could_miss_rows_is_refused(database: Database, items: psycopg.Connection[Any]) -> None:
    """A transaction with an older view of the table would truncate rows that it does not see."""
    _runner(database)
    items.execute("SET default_transaction_isolation = 'repeatable read'")
    with pytest.raises(psycopg.errors.RaiseException, match="READ COMMITTED"):
        items.execute("TRUNCATE items")
    assert items.execute("SELECT count(*) FROM items").fetchall() == [(10,)]


def test_installing_waits_for_nobody_for_long(
    database: Database, items: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a transaction writes to the table it gives up, to be tried again, and leaves nothing."""
    monkeypatch.setattr("airflow_reindex_provider.sources.postgres.tombstones.LOCK_TIMEOUT", "50ms")
    with database.connect() as writer:
        writer.execute("BEGIN")
        writer.execute("DELETE FROM items WHERE id = 1")
        with pytest.raises(TransientError, match="lock timeout"):
            _source(database).install_tombstones()
        assert items.execute("SELECT to_regclass('items_tombstones')").fetchall() == [(None,)]


def test_partitions(database: Database, items: psycopg.Connection[Any]) -> None:
    """Of a partitioned table: rows that move between them stay, deletions in one of them count, a new one is covered, and
    one whose trigger sleeps is noticed."""
    items.execute(
        "CREATE TABLE parts (id int, part int NOT NULL, updated_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (part, id))"
        " PARTITION BY LIST (part);"
        "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1); CREATE INDEX ON parts (updated_at, part, id)"
    )
    run = _runner(database, table="public.parts", primary_key=("part", "id"))
    items.execute("CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2)")
    items.execute("INSERT INTO parts SELECT n, 1 + n % 2 FROM generate_series(1, 10) AS n")
    run.run()
    items.execute("UPDATE parts SET part = 2, updated_at = now() WHERE id = 2")
    items.execute("DELETE FROM parts_2 WHERE id = 3")
    run.run()
    table = items.execute("SELECT part, id FROM parts ORDER BY 1, 2").fetchall()
    assert items.execute("SELECT part, id FROM items_index ORDER BY 1, 2").fetchall() == table
    items.execute("TRUNCATE parts")
    run.run()
    assert items.execute("SELECT FROM items_index").fetchall() == []
    items.execute("ALTER TABLE parts_2 DISABLE TRIGGER ALL")
    with pytest.raises(ConfigurationError, match="parts_2"):
        run.run()


def test_purging_keeps_what_an_index_still_needs(database: Database, items: psycopg.Connection[Any]) -> None:
    """Only what every generation of every stream has passed is forgotten, and not before it is old enough."""
    run = _runner(database)
    run.run()
    streams = [
        Stream(name=name, source=run.source, target=replace(run.target, index=index), checkpoint=run.store)  # type: ignore[type-var]
        for name, index in (("stream", "items_index"), ("second", "second_index"))
    ]
    second = replace(run, stream="second", target=streams[1].target)
    items.execute("DELETE FROM items WHERE id = 1")
    second.run()
    items.execute("DELETE FROM items WHERE id = 2")
    run.run()
    tombstones = "SELECT id FROM items_tombstones"

    assert purge_tombstones(*streams, older_than=timedelta(hours=1)) == 0
    assert purge_tombstones(*streams, older_than=timedelta(0)) == 1
    assert items.execute(tombstones).fetchall() == [(2,)]
    assert purge_tombstones(streams[0], older_than=timedelta(0)) == 1
    items.execute("DELETE FROM items WHERE id = 3")
    run.store.reset("second", second.plan().generation)
    with pytest.raises(ConfigurationError, match="no checkpoint yet"):
        purge_tombstones(*streams, older_than=timedelta(0))
    assert items.execute(tombstones).fetchall() == [(3,)]


def test_purging_takes_streams_of_one_table(database: Database, items: psycopg.Connection[Any]) -> None:
    """None, or one without tombstones, is a mistake."""
    source = _source(database, tombstones=False)
    stream = Stream(
        name="stream",
        source=source,
        target=PostgresTarget(database.conn_id, index="items_index"),
        checkpoint=MemoryCheckpoint(),
    )
    for streams in ([], [stream]):
        with pytest.raises(ConfigurationError, match="one table of tombstones"):
            purge_tombstones(*streams, older_than=timedelta(0))


def test_a_reader_without_rights_on_them(
    database: Database, items: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one who deletes needs none; the one who reads gets them from the installation, else an error that says which."""
    items.execute(
        "CREATE ROLE stones_reader LOGIN; CREATE ROLE stones_writer LOGIN; GRANT pg_read_all_stats TO stones_reader"
    )
    try:
        items.execute("GRANT SELECT ON items TO stones_reader; GRANT SELECT, DELETE ON items TO stones_writer")
        monkeypatch.setenv("AIRFLOW_CONN_STONES", database.uri.replace("postgres@", "stones_reader@", 1))
        source = replace(_source(database), conn_id="stones")
        source.install_tombstones(conn_id=database.conn_id)
        items.execute("SET ROLE stones_writer")
        items.execute("DELETE FROM items WHERE id = 1")
        items.execute("RESET ROLE")
        run = Runner(source=source, target=PostgresTarget(database.conn_id, index="items_index"))
        run.run()
        assert len(_ids(items)) == 9
        items.execute("REVOKE ALL ON items_tombstones FROM stones_reader")
        with pytest.raises(ConfigurationError, match=r'GRANT SELECT ON "public"."items", "public"."items_tombstones"'):
            run.run()
        with pytest.raises(ConfigurationError, match="table's owner"):
            source.remove_tombstones()
    finally:
        items.execute("DROP OWNED BY stones_reader, stones_writer; DROP ROLE stones_reader, stones_writer")


def test_groups_read_the_tombstones_of_all(database: Database, items: psycopg.Connection[Any]) -> None:
    """A tombstone does not say which group its row was in, and is in none: every group takes the key out of its index."""
    source = _source(database, group_by="n")
    source.install_tombstones()
    items.execute("UPDATE items SET n = id % 2, updated_at = now()")
    runs = {
        value: Runner(
            source=source.of_group(value),
            target=PostgresTarget(database.conn_id, index=f"group_{value}"),
            stream=f"stream.{value}",
        )
        for value in ("0", "1")
    }
    for run in runs.values():
        run.run()
    items.execute("DELETE FROM items WHERE id <= 2")
    with source.open() as session:
        horizon = session.survey().horizon.cursor
        assert horizon is not None
        groups = session.groups(Window(None, Position(horizon)), limit=10)
    assert (groups.values, groups.nulls) == (("0", "1"), 0)
    for run in runs.values():
        run.run()
    stream = Stream(
        name="stream",
        source=source,
        target=PostgresTarget(database.conn_id, index="group_{group}"),
        checkpoint=MemoryCheckpoint(),
    )
    stream.checkpoint.save(Checkpoint("stream", GROUPS, Position("2026-01-01 00:00:00+00", groups.values)))
    for name, run in runs.items():
        generation = run.plan().generation
        own = run.store.load(run.stream, generation)
        # The second group is behind the deletions.
        position = own.position if name == "0" else Position("2026-01-01 00:00:00+00")
        stream.checkpoint.save(replace(own, position=position, version=0))
    assert purge_tombstones(stream, older_than=timedelta(0)) == 0
    for value, ids in (("0", [4, 6, 8, 10]), ("1", [3, 5, 7, 9])):
        assert [i for (i,) in items.execute(f"SELECT id FROM group_{value} ORDER BY id")] == ids  # type: ignore[call-overload]
