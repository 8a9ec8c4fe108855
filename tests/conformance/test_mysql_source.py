"""MariaDB and MySQL keep the promises of a source, with a horizon of their own."""

from __future__ import annotations

import json
import runpy
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import lancedb
import pytest
import sqlalchemy as sa
from nasty_mysql import NASTY, PRICE, make_items
from sql_groups import lives_of_groups
from sql_tables import WORDS, SqlTable

from airflow_reindex_provider.core.errors import ConfigurationError, HorizonError, ReindexError, TransientError
from airflow_reindex_provider.core.findings import statement_in
from airflow_reindex_provider.core.model import Format, Horizon, Position, Transform, Window
from airflow_reindex_provider.sources.mysql import MySqlSource, connection
from airflow_reindex_provider.sources.sql.forms import RowsForm
from airflow_reindex_provider.targets.lance import LanceTarget
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.mariadb import InstalledMariaDB, MariaDatabase
from airflow_reindex_provider.testing.mysql import InstalledMySQL
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.source_conformance import KeyConformance, SourceConformance
from airflow_reindex_provider.testing.source_suite.abilities import CHECKSUMS, CONTENTS, PREPARES
from airflow_reindex_provider.testing.source_suite.table import batch_of


@pytest.fixture
def engine(either_database: MariaDatabase) -> Iterator[sa.Engine]:
    engine = sa.create_engine(
        "mysql+pymysql://", creator=lambda: either_database.connect(autocommit=False), poolclass=sa.NullPool
    )
    yield engine
    engine.dispose()


def made(engine: sa.Engine, keys: Any, make: Any, cursor: str, **options: Any) -> SqlTable:
    def source(**said: Any) -> MySqlSource:
        return MySqlSource("shop_mysql", **said, cursor_timezone="UTC", lag=0 if "INT" in cursor else None)

    return SqlTable(engine, source, keys=keys, make=make, cursor=cursor, **options)


class TestOnEither(SourceConformance):
    cannot = (CHECKSUMS, CONTENTS, PREPARES)
    formats = MySqlSource.FORMATS

    @pytest.fixture
    def table(self, engine: sa.Engine) -> SqlTable:
        return made(engine, {"id": "BIGINT UNSIGNED"}, lambda n: (str(n + 1),), "TIMESTAMP(6) NULL")


class TestTexts(KeyConformance):
    """Of a collation that orders in a way of its own, and local times."""

    formats = MySqlSource.FORMATS

    @pytest.fixture
    def table(self, engine: sa.Engine) -> SqlTable:
        def word(n: int) -> tuple[str]:
            return (WORDS[n] if n < len(WORDS) else f"it's {n}",)

        return made(engine, {"id": "VARCHAR(40)"}, word, "DATETIME(6)", options="COLLATE utf8mb4_unicode_ci")


TABLE = """CREATE TABLE items (id BIGINT PRIMARY KEY, n INT,
 updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), KEY (updated_at, id))"""


def items(**said: Any) -> MySqlSource:
    given = {"table": "items", "primary_key": "id", "cursor_field": "updated_at", "margin": timedelta(0), **said}
    return MySqlSource("shop_mysql", **given)


def horizon_of(source: MySqlSource, wait_s: float = 1.0) -> Horizon:
    with source.open() as session:
        return session.horizon(wait_s=wait_s)


def until(told: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not told():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_wait_for_a_metadata_lock_loses_no_row(either_database: MariaDatabase, database: Database) -> None:
    """A statement is stamped when it comes, waits for the table's lock, and then begins its transaction: in InnoDB's list that is
    younger than the stamp, and once the statement has run nothing tells of the wait. While the transaction is open the run reads
    nothing; the naive cursor, and one at the start of the oldest transaction of InnoDB's list, lose the row."""
    either_database.execute(TABLE, "INSERT INTO items (id) VALUES (1)")
    run = Runner(source=items(), target=PostgresTarget(database.conn_id, index="public.items_index"))
    late, locking = either_database.connect(autocommit=False), either_database.connect()
    with closing(late), closing(locking), locking.cursor() as lock, late.cursor() as slow, items().open() as session:
        # Before the table is locked for whoever asks what it is like, too.
        session.schema()
        session.horizon(wait_s=1)
        lock.execute("LOCK TABLES items WRITE")
        waiting = threading.Thread(target=slow.execute, args=("INSERT INTO items (id) VALUES (2)",))
        waiting.start()
        state = "SELECT 1 FROM information_schema.processlist WHERE state LIKE 'Waiting for table metadata lock'"
        until(lambda: either_database.execute(state))
        while_it_waits = session.horizon(wait_s=0.3)
        # So that the start of its transaction, in whole seconds, is later than its stamp.
        until(lambda: either_database.execute("SELECT MICROSECOND(SYSDATE(6)) < 200000") == [(1,)])
        time.sleep(1)
        lock.execute("UNLOCK TABLES")
        waiting.join()
        either_database.execute("INSERT INTO items (id) VALUES (3)")
        ((naive,),) = either_database.execute("SELECT MAX(updated_at) FROM items")
        # Whoever asks more often than every tenth of a second is told what was.
        time.sleep(0.15)
        ((begun,),) = either_database.execute(
            "SELECT MIN(trx_started) FROM information_schema.innodb_trx WHERE trx_rows_modified"
        )
        held = session.horizon(wait_s=0.3)
        run.run()
        late.commit()
        ((stamp,),) = either_database.execute("SELECT updated_at FROM items WHERE id = 2")

    assert stamp < naive
    assert stamp < begun
    assert (while_it_waits.cursor, held.cursor) == (None, None)
    assert "in a statement" in str(while_it_waits.held_by)
    assert "idle" in str(held.held_by)
    run.run()
    with database.connect() as connection:
        assert connection.execute("SELECT id FROM public.items_index ORDER BY id").fetchall() == [(1,), (2,), (3,)]


def test_a_monitor_that_keeps_the_list_old_is_noticed(either_database: MariaDatabase) -> None:
    """InnoDB makes its list of transactions anew only when nobody has read it for a tenth of a second: with somebody who reads
    it all the time, a transaction that has begun meanwhile is not in it. No horizon is made of such a list."""
    either_database.execute(TABLE)
    read = threading.Event()
    stop = threading.Event()

    def monitor() -> None:
        with closing(either_database.connect()) as connection, connection.cursor() as cursor:
            while not stop.is_set():
                cursor.execute("SELECT COUNT(*) FROM information_schema.innodb_trx")
                cursor.fetchall()
                read.set()

    thread = threading.Thread(target=monitor)
    thread.start()
    try:
        assert read.wait(20)
        with closing(either_database.connect(autocommit=False)) as late, late.cursor() as cursor:
            cursor.execute("INSERT INTO items (id) VALUES (1)")
            number = late.thread_id()
            ask = f"SELECT 1 FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = {number}"
            assert either_database.execute(ask) == []
            found = horizon_of(items(), wait_s=0.5)
    finally:
        stop.set()
        thread.join()
    assert found.cursor is None
    assert found.held_by is not None


def test_who_may_only_read_or_has_not_written_holds_nothing(either_database: MariaDatabase) -> None:
    """A session that has read and waits, and one that can only read; but one that is prepared and has left (XA) does, by name."""
    either_database.execute(TABLE)
    with closing(either_database.connect(autocommit=False)) as idle, closing(either_database.connect()) as reader:
        idle.cursor().execute("SELECT * FROM items")
        reader.cursor().execute("START TRANSACTION READ ONLY")
        reader.cursor().execute("SELECT * FROM items")
        assert horizon_of(items()).cursor is not None
    with closing(either_database.connect()) as prepared:
        for statement in ("XA START 'x'", "INSERT INTO items (id) VALUES (1)", "XA END 'x'", "XA PREPARE 'x'"):
            prepared.cursor().execute(statement)
    try:
        until(lambda: horizon_of(items(), wait_s=0.3).cursor is None)
        assert "XA COMMIT" in str(horizon_of(items(), wait_s=0.3).held_by)
    finally:
        either_database.execute("XA COMMIT 'x'")
    assert horizon_of(items()).cursor is not None


def test_a_function_that_takes_its_time_loses_no_row(either_database: MariaDatabase) -> None:
    """Each statement in it has the stamp of the one that calls it. MariaDB shows each as a statement of its own, begun just now,
    so that what the session ran before seems to be over."""
    slowly = "DECLARE n INT DEFAULT 0; WHILE n < 15 DO SET n = n + 1; DO SLEEP(0.1); END WHILE; RETURN 2"
    either_database.execute(TABLE, f"CREATE FUNCTION slowly() RETURNS INT NOT DETERMINISTIC NO SQL BEGIN {slowly}; END")
    horizons: list[str | None] = []
    with closing(either_database.connect()) as late, items().open() as session:
        session.schema()
        calling = threading.Thread(target=late.cursor().execute, args=("INSERT INTO items (id) SELECT slowly()",))
        calling.start()
        until(
            lambda: either_database.execute(
                "SELECT 1 FROM information_schema.processlist WHERE info LIKE '%SLEEP(0.1)'"
            )
        )
        while calling.is_alive():
            horizons.append(session.horizon(wait_s=0.3).cursor)
        calling.join()
        ((stamp,),) = either_database.execute("SELECT updated_at FROM items")
        # The last one may have been told after the row was there.
        assert all(h is None or h < f"{stamp:%Y-%m-%d %H:%M:%S.%f}" for h in horizons[:-1]), horizons
        assert len(horizons) > 2


def test_a_report_that_runs_for_long_holds_nothing(either_database: MariaDatabase) -> None:
    """A SELECT in autocommit, whose transaction cannot write."""
    either_database.execute(TABLE, "INSERT INTO items (id) VALUES (1), (2), (3)")
    with closing(either_database.connect()) as report:
        reading = threading.Thread(target=report.cursor().execute, args=("SELECT SLEEP(0.4) FROM items",))
        reading.start()
        until(lambda: either_database.execute("SELECT 1 FROM information_schema.innodb_trx WHERE trx_is_read_only"))
        # InnoDB's list is made anew when nobody has read it for a while.
        found = horizon_of(items(), wait_s=0.5)
        assert reading.is_alive()
        reading.join()
    assert found.cursor is not None


def test_a_table_that_is_locked_is_waited_for_a_while(
    either_database: MariaDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task does not hang behind whoever alters the table; a retry may find it free."""
    either_database.execute(TABLE)
    shorter = tuple(s.replace("= 60", "= 1") for s in connection.SESSION_SETTINGS)
    monkeypatch.setattr(connection, "SESSION_SETTINGS", shorter)
    with closing(either_database.connect()) as locking, items().open() as session:
        locking.cursor().execute("LOCK TABLES items WRITE")
        with pytest.raises(TransientError, match=r"items on connection 'shop_mysql'.*[Ll]ock wait timeout"):
            session.survey()


def test_a_bound_is_cut_as_stamps_are(either_database: MariaDatabase) -> None:
    """A column of whole seconds has stamps of up to a second before the statement."""
    either_database.execute("CREATE TABLE items (id INT PRIMARY KEY, updated_at TIMESTAMP NULL, KEY (updated_at))")
    assert "." not in str(horizon_of(items()).cursor)


@pytest.mark.parametrize(
    ("table", "said", "because"),
    [
        (
            TABLE.replace("PRIMARY KEY,", "PRIMARY KEY, seq BIGINT,"),
            {"cursor_field": "seq"},
            "handed out in increasing",
        ),
        (TABLE + " ENGINE=MyISAM", {}, "ALTER TABLE items ENGINE=InnoDB;"),
        (TABLE.replace("items", "real_items"), {}, "it is a view"),
    ],
)
def test_without_a_horizon_a_lag_must_be_stated(
    either_database: MariaDatabase, table: str, said: dict[str, Any], because: str
) -> None:
    """Where nobody can tell, nothing is guessed; with a lag the same is read."""
    either_database.execute(table)
    if "real_items" in table:
        either_database.execute("CREATE VIEW items AS SELECT * FROM real_items")
    with items(**said).open() as session, pytest.raises(HorizonError, match=because):
        session.survey()
    lag = 0 if said else timedelta(minutes=5)
    with items(**said, lag=lag).open() as session:
        session.survey()


def test_each_missing_grant_is_printed_and_works(
    either_server: InstalledMariaDB, either_database: MariaDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user that may read the table alone is told what to grant, one thing after the other."""
    either_database.execute(TABLE)
    either_server.create_user("reader", f"SELECT ON `{either_database.name}`.*")
    reader = either_server.database(either_database.name, user="reader")
    for name, value in reader.env.items():
        monkeypatch.setenv(name, value)
    told = []
    for _ in range(3):
        try:
            assert horizon_of(items()).cursor
            break
        except HorizonError as error:
            statement = statement_in(str(error)) or ""
            told.append(statement)
            either_database.execute(statement)
    replicas = "REPLICATION CLIENT" if isinstance(either_server, InstalledMySQL) else "SLAVE MONITOR"
    assert told == [f"GRANT {what} ON *.* TO `reader`@`127.0.0.1`;" for what in (replicas, "PROCESS")]


def test_pages_go_by_the_index(either_database: MariaDatabase) -> None:
    """A page that begins among many rows of one moment reads what it holds, and not what lies before it."""
    either_database.execute(
        TABLE,
        "INSERT INTO items (id, n, updated_at) VALUES "
        + ", ".join(f"({n}, {n}, '2026-03-01 12:00:00')" for n in range(1, 20_001)),
        "ANALYZE TABLE items",
    )
    with items().open() as session:
        found = session.describe()
        window = Window(Position("2026-03-01 12:00:00+00", ("15000",)), Position("2026-03-02 00:00:00+00"))
        page = found.relation.page(window, RowsForm(found.relation, ("id", "n")).columns, 100)
        text = str(page.compile(dialect=session._asking.connection.dialect, compile_kwargs={"literal_binds": True}))
        ((plan,),) = either_database.execute(f"EXPLAIN FORMAT=JSON {text}")
        assert '"access_type": "range"' in plan or '"index_access_type": "index_range_scan"' in plan
        assert "updated_at" in plan
        assert "sort" not in plan
        before = session._asking.all(sa.text("SHOW SESSION STATUS LIKE 'Handler_read_next'"))
        session._asking.all(page)
        after = session._asking.all(sa.text("SHOW SESSION STATUS LIKE 'Handler_read_next'"))
    assert int(after[0][1]) - int(before[0][1]) <= 200


@pytest.mark.usefixtures("mysql_client")
def test_a_read_that_is_given_up_leaves_no_query_running(either_database: MariaDatabase) -> None:
    """Cancelling ends the statement at the server, and reading says so."""
    either_database.execute(TABLE, "INSERT INTO items (id, updated_at) VALUES (1, '2026-03-01 12:00:00')")
    slow = items(row_filter="SLEEP(60) = 0")
    batch = batch_of(Window(None, Position("2026-03-02 00:00:00+00")), 1)
    with slow.open() as session:
        # The description asks for no row, so it does not sleep.
        fields = [f.name for f in session.schema().fields]
        running = (
            "SELECT id FROM information_schema.processlist WHERE info LIKE '%SLEEP(60)%' AND id <> CONNECTION_ID()"
        )

        def stop() -> None:
            until(lambda: either_database.execute(running))
            session.cancel()

        stopping = threading.Thread(target=stop)
        stopping.start()
        with suppress(ReindexError):
            list(session.read(batch, format=Format.ROWS, fields=fields, chunk_rows=9))
        stopping.join()
        until(lambda: not either_database.execute(running))


@pytest.mark.usefixtures("mysql_client")
@pytest.mark.parametrize("transform", [pytest.param(None, id="pg_text"), pytest.param(lambda d: d, id="rows")])
def test_nasty_values_are_the_same_in_postgres(
    either_database: MariaDatabase, database: Database, transform: Transform | None
) -> None:
    """To the last digit and microsecond. A date that is none is NULL, which is the nearest that another database has."""
    make_items(either_database)
    target = PostgresTarget(database.conn_id, index="public.items_index")
    run = Runner(source=items(), target=target, transform=transform)
    assert run.format is (Format.PG_TEXT if transform is None else Format.ROWS)
    run.run()
    with database.connect() as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        names = ", ".join(f'"{name}"' for name in NASTY)
        (read,) = connection.execute(f"SELECT {names} FROM public.items_index").fetchall()
        texts = connection.execute('SELECT "lasting"::text, "price"::text FROM public.items_index').fetchone()
    assert texts == (NASTY["lasting"][2], PRICE)
    found = dict(zip(NASTY, read, strict=True))
    # An interval is a number of days there, and a time less than nothing.
    assert {n: v for n, v in found.items() if n != "lasting"} == {
        n: v for n, (_, _, v) in NASTY.items() if n != "lasting"
    }


def test_nasty_values_are_the_same_in_lancedb(
    either_database: MariaDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number of more digits than a double's is kept by the type that the author gives it."""
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "generic", "host": str(tmp_path)}))
    make_items(either_database)
    digits = {"big": "numeric(20,0)", "bits": "numeric(20,0)", "price": "text"}
    Runner(source=items(), target=LanceTarget("lake", index="items", columns=digits)).run()
    lake = lancedb.connect(tmp_path)
    (name,) = lake.open_table("items").to_arrow()["table"].to_pylist()
    (row,) = lake.open_table(name).search().to_list()
    wanted = {n: v for n, (_, _, v) in NASTY.items()}
    small = struct.unpack("f", struct.pack("f", 0.1))[0]
    wanted |= {"price": PRICE, "small": small, "doc": json.dumps(wanted["doc"], ensure_ascii=False)}
    assert {n: row[n] for n in NASTY} == wanted


def test_a_value_that_the_server_cannot_write_is_parked(
    either_database: MariaDatabase, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Bytes are written as twice as many letters: where they are more than a value may have, the row is not taken for one with a
    NULL. A text that Postgres cannot hold is parked as well, and both by their keys; the row that is between them comes."""
    ((allowed,),) = either_database.execute("SELECT @@GLOBAL.max_allowed_packet")
    either_database.execute(
        TABLE.replace("n INT", "b LONGBLOB, t TEXT"),
        "INSERT INTO items (id, b, t) VALUES (1, '', ''), (2, REPEAT('x', 700000), ''), (3, REPEAT('x', 500000), ''),"
        " (4, '', CHAR(0))",
    )
    either_database.execute("SET GLOBAL max_allowed_packet = 1048576")
    try:
        outcome = Runner(source=items(), target=PostgresTarget(database.conn_id, index="public.items_index")).run()
    finally:
        either_database.execute(f"SET GLOBAL max_allowed_packet = {allowed}")
    assert (outcome.counts.created, outcome.parked) == (2, 2)
    assert (
        "key 2: it cannot be read: its text is longer than the 1,048,576 bytes that the server's max_allowed_packet"
        in caplog.text
    )
    assert "key 4: column 't': a text cannot hold the character NUL" in caplog.text
    with database.connect() as connection:
        assert connection.execute("SELECT id, length(b) FROM public.items_index ORDER BY id").fetchall() == [
            (1, 0),
            (3, 500_000),
        ]


def test_groups(either_database: MariaDatabase, database: Database) -> None:
    """Of texts that the column's collation takes for equal, and with which it ends in blanks."""
    either_database.execute(
        "CREATE TABLE items (id INT PRIMARY KEY, tenant VARCHAR(40) COLLATE utf8mb4_unicode_ci, body TEXT, updated_at"
        " TIMESTAMP(6) NULL, KEY (updated_at, id), KEY (tenant, updated_at, id))"
    )
    with closing(either_database.connect(charset="utf8mb4")) as connection, connection.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        lives_of_groups(
            items(group_by="tenant"),
            database,
            lambda statement, values: cursor.execute(statement.replace("?", "%s"), values),
        )


def test_groups_want_an_index_and_one_text_a_value(either_database: MariaDatabase) -> None:
    either_database.execute(TABLE.replace("n INT", "n INT, price DECIMAL(9,2), tags SET('a','b')"))
    with items(group_by="n").open() as session:
        (said,) = session.describe().warnings
    assert "CREATE INDEX items_groups ON items (n, updated_at, id);" in said
    for column in ("price", "tags"):
        with (
            items(group_by=column).open() as session,
            pytest.raises(ConfigurationError, match=f"group_by column '{column}' is"),
        ):
            session.survey()


def test_a_zero_date_in_the_cursor_field_counts_as_no_value(either_database: MariaDatabase) -> None:
    """The row is left out and counted, and stops no other."""
    either_database.execute(
        "CREATE TABLE items (id INT PRIMARY KEY, updated_at DATETIME(6) NOT NULL, KEY (updated_at))",
        "INSERT IGNORE INTO items VALUES (1, '0000-00-00'), (2, '2026-03-01 12:00:00.000001')",
    )
    source = items(cursor_timezone="Europe/Berlin")
    with source.open() as session:
        slices = session.slices(Window(None, Position("2026-03-02 00:00:00")), batch_rows=9, max_slices=9)
        assert (slices.null_cursors, slices.rows) == (1, 1)


def test_what_nothing_in_the_database_stamps_is_said(either_database: MariaDatabase) -> None:
    either_database.execute(
        "CREATE TABLE items (id INT PRIMARY KEY, updated_at DATETIME(6) NOT NULL, KEY (updated_at))"
    )
    with items(cursor_timezone="UTC").open() as session:
        (said,) = session.survey().warnings
        levels = {f.what: str(f.level) for f in session.check()}
    assert "ON UPDATE CURRENT_TIMESTAMP(6);" in said
    assert levels["open transactions"] == "ok"


def test_the_example_reads_what_it_says(
    either_database: MariaDatabase, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream of ``dags/example_reindex_mysql.py``, as it is there."""
    path = Path(__file__).parents[2] / "dags" / "example_reindex_mysql.py"
    stream = runpy.run_path(str(path))["parcels"]
    monkeypatch.setenv("AIRFLOW_CONN_PARCELS_DB", either_database.uri)
    either_database.execute(
        TABLE.replace("items", "parcels").replace("n INT", "n INT, deleted_at DATETIME NULL"),
        "INSERT INTO parcels (id, n, updated_at) VALUES (1, 5, '2026-03-01'), (2, 6, '2026-03-01')",
    )
    target = PostgresTarget(database.conn_id, index="public.parcels_index")
    run = Runner(source=stream.source, target=target)
    assert run.run().counts.created == 2
