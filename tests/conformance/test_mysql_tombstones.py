"""Deletions at MariaDB and MySQL reach the index with the next run: triggers record them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from airflow_reindex_provider.control.doing import do
from airflow_reindex_provider.control.streams import remove_stream
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.recording import RecordingSource
from airflow_reindex_provider.sources.mysql import MySqlSource
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.mariadb import InstalledMariaDB, MariaDatabase
from airflow_reindex_provider.testing.memory import MemoryCheckpoint
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner

STAMPED = "TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)"
TABLE = "CREATE TABLE items (id {key} PRIMARY KEY, n INT, updated_at {cursor}, KEY (updated_at, id))"


def items(**said: Any) -> MySqlSource:
    given = {"table": "items", "primary_key": "id", "cursor_field": "updated_at", "margin": timedelta(0), **said}
    return MySqlSource("shop_mysql", **{"tombstones": True, **given})


def runner(database: Database, source: MySqlSource) -> Runner:
    return Runner(source=source, target=PostgresTarget(database.conn_id, index="public.items_index"))


def indexed(database: Database) -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        return connection.execute("SELECT * FROM public.items_index ORDER BY 1").fetchall()


KEYS = [
    pytest.param("BIGINT UNSIGNED", "1, 2, 3, 4, 5", id="numbers"),
    pytest.param("VARCHAR(40) COLLATE utf8mb4_unicode_ci", "'a', 'B', 'ç', 'd''', '\\\\e'", id="texts"),
]


@pytest.mark.parametrize(("key", "keys"), KEYS)
def test_what_is_deleted_leaves_the_index_with_the_next_run(
    either_database: MariaDatabase, database: Database, key: str, keys: str
) -> None:
    """A DELETE, another key, a REPLACE that puts the row back, a row that is deleted and inserted again."""
    maria, source, run = either_database, items(), runner(database, items())
    one, two, three, four, five = keys.split(", ")
    maria.execute(TABLE.format(key=key, cursor=STAMPED))
    source.install_tombstones()
    maria.execute(f"INSERT INTO items (id, n) VALUES ({'), ('.join(f'{k}, 1' for k in keys.split(', '))})")
    assert run.run().counts.created == 5
    new = "9" if "INT" in key else "'new'"
    maria.execute(
        f"DELETE FROM items WHERE id = {one}",
        f"UPDATE items SET id = {new} WHERE id = {two}",
        f"REPLACE INTO items (id, n) VALUES ({three}, 7)",
        f"DELETE FROM items WHERE id = {four}",
        f"INSERT INTO items (id, n) VALUES ({four}, 8)",
    )
    counts = run.run().counts
    assert (counts.deleted, counts.created, counts.updated) == (2, 1, 2)
    ((number,),) = maria.execute("SELECT COUNT(*) FROM items_tombstones")
    assert number == 4
    assert sorted(n for _, n, _ in indexed(database)) == [1, 1, 7, 8]
    # A tombstone once more for a key that has one, and a page among tombstones of one moment.
    maria.execute(f"DELETE FROM items WHERE id IN ({three}, {four}, {five})")
    assert run.run().counts.deleted == 3
    assert [n for _, n, _ in indexed(database)] == [1]
    assert run.run().counts.processed == 0


@pytest.mark.parametrize(
    "cursor", ["TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP", "DATETIME(3) NOT NULL", "DATE NOT NULL"]
)
def test_a_tombstone_is_stamped_as_rows_are(either_database: MariaDatabase, cursor: str) -> None:
    """In the type of the cursor field, and cut to its digits, as its own stamps are; whatever zone the session has."""
    maria, source = either_database, items(cursor_timezone="UTC")
    maria.execute(TABLE.format(key="INT", cursor=cursor))
    source.install_tombstones()
    with closing(maria.connect()) as connection, connection.cursor() as cursor_of:
        cursor_of.execute("SET time_zone = '+09:00', timestamp = 1774965599.999999")
        cursor_of.execute("INSERT INTO items VALUES (1, 1, '2026-03-01')")
        cursor_of.execute("DELETE FROM items")
        cursor_of.execute("SET time_zone = '+00:00'")
        cursor_of.execute("SELECT CAST(updated_at AS CHAR) FROM items_tombstones")
        ((stamp,),) = cursor_of.fetchall()
    assert "2026-03-31 13:59:59.999".startswith(stamp)


def test_the_statements_can_be_run_by_hand_and_again(either_database: MariaDatabase, database: Database) -> None:
    """As they are printed, twice; what is recorded stays. Each deletion without them is refused before anything is written."""
    maria, source = either_database, items(tombstones=f"{either_database.name}.gone")
    maria.execute(TABLE.format(key="INT", cursor=STAMPED), "INSERT INTO items (id) VALUES (1), (2)")
    with source.open() as session, pytest.raises(ConfigurationError, match=r"there is no table .*gone"):
        session.survey()
    statements = source.tombstone_ddl().split(";\n")
    with closing(maria.connect()) as connection, connection.cursor() as cursor:
        for statement in (*statements, "DELETE FROM items WHERE id = 1", *statements):
            cursor.execute(statement.rstrip(";"))
    assert maria.execute("SELECT id FROM gone") == [(1,)]
    assert runner(database, source).run().counts.processed == 2
    maria.execute("DROP TRIGGER gone_update")
    with source.open() as session, pytest.raises(ConfigurationError, match="trigger 'gone_update' is missing"):
        session.survey()
    maria.execute("ALTER TABLE gone MODIFY id BIGINT NOT NULL")
    with source.open() as session, pytest.raises(ConfigurationError, match="gone has the columns"):
        session.survey()
    source.remove_tombstones()
    source.remove_tombstones()
    assert maria.execute("SHOW TABLES LIKE 'gone'") == []
    assert maria.execute("SHOW TRIGGERS") == []


def test_all_doors_know_them(maria_database: MariaDatabase, database: Database) -> None:
    """The acts of page, REST and command line, a purge that spares what an index has not passed, and removal of the stream."""
    maria, store = maria_database, MemoryCheckpoint()
    maria.execute(TABLE.format(key="INT", cursor=STAMPED), "INSERT INTO items (id) VALUES (1), (2), (3)")
    source = items()
    assert isinstance(source, RecordingSource)
    run = Runner(
        source=source, target=PostgresTarget(database.conn_id, index="public.items_index"), store=store, stream="items"
    )
    stream = Stream(name="items", source=source, target=run.target, checkpoint=store)
    assert "CREATE TRIGGER" in do(stream, "tombstones-ddl", {})["ddl"]
    do(stream, "tombstones-install", {})
    run.run()
    maria.execute("DELETE FROM items WHERE id = 1")
    run.run()
    maria.execute("DELETE FROM items WHERE id = 2")
    assert source.count_tombstones(below="9999-01-01 00:00:00+00", keep=[("1",)]) == 1
    assert do(stream, "tombstones-purge", {"older_than_days": 0})["count"] == 1
    assert maria.execute("SELECT id FROM items_tombstones") == [(2,)]
    assert any("tombstones" in line for line in remove_stream(stream, tombstones=True, dry_run=False))
    assert maria.execute("SHOW TRIGGERS") == []


def test_a_purge_that_meets_a_deadlock_begins_anew(either_database: MariaDatabase) -> None:
    """The server chooses it as the one to give way, since the application's transaction has done more; this one goes on."""
    maria, source = either_database, items()
    maria.execute(TABLE.format(key="INT", cursor=STAMPED), "CREATE TABLE much (n INT)")
    source.install_tombstones()
    maria.execute(
        "INSERT INTO items (id) VALUES (1), (2)", "DELETE FROM items WHERE id = 1", "DELETE FROM items WHERE id = 2"
    )
    locked = "SELECT * FROM items_tombstones WHERE id = {} FOR UPDATE"
    waits = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
    with ThreadPoolExecutor() as pool, closing(maria.connect(autocommit=False)) as other, other.cursor() as cursor:
        cursor.execute(f"INSERT INTO much VALUES {', '.join(['(1)'] * 1000)}")
        cursor.execute(locked.format(2))
        purged = pool.submit(source.purge_tombstones, below="9999-01-01 00:00:00+00")
        deadline = time.monotonic() + 60
        while maria.execute(waits) != [(1,)]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        cursor.execute(locked.format(1))
        other.commit()
        assert purged.result() == 2
    assert maria.execute("SELECT * FROM items_tombstones") == []


def test_who_may_only_read_is_told_what_cannot_be_seen(
    either_server: InstalledMariaDB, either_database: MariaDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers show triggers to whoever may make some. The owner's connection installs them, and grants what is needed."""
    maria = either_database
    maria.execute(TABLE.format(key="INT", cursor=STAMPED))
    either_server.create_user("reader", f"SELECT ON `{maria.name}`.`items`", "PROCESS ON *.*")
    reader = either_server.database(maria.name, user="reader")
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_OWNER", maria.uri)
    for name, value in reader.env.items():
        monkeypatch.setenv(name, value)
    source = items(lag=timedelta(minutes=1))
    source.install_tombstones(conn_id="shop_owner")
    with source.open() as session:
        (said,) = session.survey().warnings
    assert f"GRANT TRIGGER ON `{maria.name}`.`items` TO `reader`@`127.0.0.1`;" in said
    maria.execute(f"GRANT TRIGGER ON `{maria.name}`.`items` TO `reader`@`127.0.0.1`")
    with source.open() as session:
        assert session.survey().warnings == ()


@pytest.mark.parametrize(
    ("said", "because"),
    [
        ({"cursor_field": "n"}, "counts"),
        ({"primary_key": ("id", "updated_at"), "cursor_timezone": "UTC"}, "cannot be part"),
        ({"cursor_timezone": "Mars/Olympus"}, "time zone"),
    ],
)
def test_where_they_cannot_be_had(maria_database: MariaDatabase, said: dict[str, Any], because: str) -> None:
    maria_database.execute(TABLE.format(key="INT", cursor="DATE NOT NULL" if "cursor_timezone" in said else STAMPED))
    source = items(lag=0 if "cursor_field" in said else None, **said)
    with source.open() as session, pytest.raises(ConfigurationError, match=because):
        session.survey()


def test_what_cascades_past_triggers_is_said(maria_database: MariaDatabase) -> None:
    maria_database.execute(
        "CREATE TABLE owners (id INT PRIMARY KEY)",
        TABLE.format(key="INT", cursor=STAMPED),
        "ALTER TABLE items ADD CONSTRAINT owned FOREIGN KEY (n) REFERENCES owners (id) ON DELETE CASCADE",
    )
    items().install_tombstones()
    with items().open() as session:
        (said,) = session.survey().warnings
    assert "'owned' deletes rows" in said
