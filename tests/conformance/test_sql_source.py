"""Any database that SQLAlchemy speaks keeps the promises of a source, given a lag: SQLite, Postgres and MariaDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sql_groups import lives_of_groups
from sql_tables import WORDS, SqlTable

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Batch, Format, Position, Window
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.sources.dbapi import SqlSource
from airflow_reindex_provider.sources.mysql import MySqlSource
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.mariadb import MariaDatabase
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.search_engine import SearchEngine
from airflow_reindex_provider.testing.source_conformance import KeyConformance, Made, SourceConformance
from airflow_reindex_provider.testing.source_suite.abilities import CHECKSUMS, CHILDREN, CONTENTS, PREPARES, TOMBSTONES
from airflow_reindex_provider.testing.source_suite.table import batch_of, documents_of, position_at
from airflow_reindex_provider.testing.sweeps import Sweeper

LAG = timedelta(minutes=5)
CANNOT = (CHECKSUMS, CHILDREN, CONTENTS, PREPARES, TOMBSTONES)
NUMBER = ({"id": "BIGINT"}, lambda n: (str(n + 1),))
WORD = (
    {"id": "VARCHAR(40)"},
    lambda n: (WORDS[n] if n < len(WORDS) else f"it's {n}",),
)
PAIR = ({"day": "DATE", "Order %s": "INTEGER"}, lambda n: (f"2026-02-{n % 28 + 1:02}", str(n)))
Make = Callable[..., SqlTable]


@pytest.fixture
def sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Engine]:
    path = tmp_path / "shop.db"
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_SQLITE", f"sqlite://{path}")
    engine = sa.create_engine(f"sqlite:///{path}")
    yield engine
    engine.dispose()


@pytest.fixture
def on_postgres(database: Database) -> Iterator[sa.Engine]:
    import psycopg

    engine = sa.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(database.dsn), poolclass=sa.NullPool
    )
    yield engine
    engine.dispose()


@pytest.fixture
def on_mariadb(maria_database: MariaDatabase) -> Iterator[sa.Engine]:
    engine = sa.create_engine(
        "mysql+pymysql://", creator=lambda: maria_database.connect(autocommit=False), poolclass=sa.NullPool
    )
    yield engine
    engine.dispose()


def made_on(engine: sa.Engine, conn_id: str, kind: Any, cursor: str, **options: Any) -> SqlTable:
    columns, make = kind

    def source(**said: Any) -> SqlSource:
        lag = 0 if "INT" in cursor else LAG
        return SqlSource(conn_id, **said, lag=lag, cursor_timezone="UTC")

    return SqlTable(engine, source, keys=columns, make=make, cursor=cursor, **options)


class TestOnSqlite(SourceConformance):
    cannot = CANNOT

    @pytest.fixture
    def table(self, sqlite: sa.Engine) -> SqlTable:
        return made_on(sqlite, "shop_sqlite", NUMBER, "DATETIME")


class TestTextsOnSqlite(KeyConformance):
    @pytest.fixture
    def table(self, sqlite: sa.Engine) -> SqlTable:
        return made_on(sqlite, "shop_sqlite", WORD, "DATETIME")


class TestNumbersOnSqlite(KeyConformance):
    """A cursor of whole numbers."""

    @pytest.fixture
    def table(self, sqlite: sa.Engine) -> SqlTable:
        return made_on(sqlite, "shop_sqlite", NUMBER, "BIGINT")


class TestOnPostgres(SourceConformance):
    cannot = CANNOT

    @pytest.fixture
    def table(self, on_postgres: sa.Engine, database: Database) -> SqlTable:
        return made_on(on_postgres, database.conn_id, NUMBER, "timestamptz")


class TestTextsOnPostgres(KeyConformance):
    @pytest.fixture
    def table(self, on_postgres: sa.Engine, database: Database) -> SqlTable:
        return made_on(on_postgres, database.conn_id, WORD, "timestamp")


class TestPairsOnPostgres(KeyConformance):
    @pytest.fixture
    def table(self, on_postgres: sa.Engine, database: Database) -> SqlTable:
        return made_on(on_postgres, database.conn_id, PAIR, "timestamptz")


class TestOnMariadb(SourceConformance):
    cannot = CANNOT

    @pytest.fixture
    def table(self, on_mariadb: sa.Engine) -> SqlTable:
        return made_on(on_mariadb, "shop_mysql", NUMBER, "DATETIME(6)")


class TestTextsOnMariadb(KeyConformance):
    """Of a collation that orders in a way of its own."""

    @pytest.fixture
    def table(self, on_mariadb: sa.Engine) -> SqlTable:
        return made_on(on_mariadb, "shop_mysql", WORD, "TIMESTAMP(6) NULL", options="COLLATE utf8mb4_unicode_ci")


class TestPairsOnMariadb(KeyConformance):
    @pytest.fixture
    def table(self, on_mariadb: sa.Engine) -> SqlTable:
        return made_on(on_mariadb, "shop_mysql", PAIR, "DATETIME(6)")


def test_a_lag_is_what_keeps_the_horizon(sqlite: sa.Engine) -> None:
    """Time as far below the database's clock, and as many values below the greatest one; nothing else is known."""
    table = made_on(sqlite, "shop_sqlite", NUMBER, "DATETIME")
    with table.source.open() as source:
        survey = source.survey()
    kind = survey.schema.cursor_type
    assert survey.horizon.cursor is not None
    assert survey.now is not None
    assert timedelta(microseconds=kind.ordinal(survey.now) - kind.ordinal(survey.horizon.cursor)) >= LAG
    assert survey.horizon.basis == "lag of 0:05:00 stated for the stream"


def test_a_lag_of_numbers(sqlite: sa.Engine) -> None:
    table = made_on(sqlite, "shop_sqlite", NUMBER, "BIGINT")
    table.put([Made(key, number) for number, key in enumerate(table.keys(10))])
    with table.source.open() as source:
        assert source.survey().horizon.cursor == str(10**6 + 10)
    lagging = SqlSource(**{**table.source.serialize(), "lag": 3})  # type: ignore[attr-defined]
    with lagging.open() as source:
        survey = source.survey()
    assert (survey.horizon.cursor, survey.counter and survey.counter.greatest) == (str(10**6 + 7), 10**6 + 9)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"lag": None}, "state lag"),
        ({"lag": timedelta(-1)}, "lag cannot be negative"),
        ({"lag": 5}, "a cursor made of time is a timedelta"),
        ({"cursor_timezone": None}, "State the one of who writes it"),
        ({"cursor_field": "body"}, "no time, date or whole number"),
        ({"primary_key": "price"}, "whose equal values have one text"),
        ({"primary_key": "nobody"}, "has no column 'nobody'"),
        ({"table": "nothing"}, "there is no such table or view"),
        ({"conn_id": "nowhere"}, "which does not exist"),
        ({"row_filter": "nonsense("}, "near"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    sqlite: sa.Engine, arguments: dict[str, Any], said: str
) -> None:
    with sqlite.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE goods (id INTEGER PRIMARY KEY, body TEXT, price DECIMAL(5,2), at DATETIME)"
        )
    given = {
        "conn_id": "shop_sqlite",
        "table": "goods",
        "primary_key": "id",
        "cursor_field": "at",
        "lag": LAG,
        "cursor_timezone": "UTC",
        **arguments,
    }
    with pytest.raises(ConfigurationError, match=said), SqlSource(**given).open() as source:
        source.survey()


def test_sqlite_writes_times_in_several_forms(sqlite: sa.Engine) -> None:
    """Its own functions, drivers and people do not agree on one; they are ordered and compared as times all the same, and what is
    no time counts as no value."""
    written = {
        1: "2026-03-01 12:00:00",
        2: "2026-03-01T12:00:00.5",
        3: "2026-03-01 12:00:00.500001",
        4: "2026-03-01 12:00:01.000",
        5: "soon",
        6: 1772366400,
        7: None,
    }
    with sqlite.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE goods (id INTEGER PRIMARY KEY, at DATETIME)")
        for item in written.items():
            connection.exec_driver_sql("INSERT INTO goods VALUES (?, ?)", item)
    source = SqlSource(
        "shop_sqlite",
        table="goods",
        primary_key="id",
        cursor_field="at",
        lag=LAG,
        cursor_timezone="UTC",
        columns=("id",),
    )
    bound = Position("2026-03-01 12:00:01")
    with source.open() as session:
        slices = session.slices(Window(None, Position("2027-01-01")), batch_rows=2, max_slices=9)
        read = [documents_of(table_of(source), session, part, format=Format.ROWS) for part, _ in slices.parts]
        last = documents_of(table_of(source), session, Window(bound, Position("2027-01-01")), format=Format.ROWS)
    assert [[d.key for d in part] for part in read] == [[("1",), ("2",)], [("3",), ("4",)]]
    assert [d.version % 10**7 for part in read for d in part] == [0, 500_000, 500_001, 1_000_000]
    assert slices.null_cursors == 3
    assert [d.key for d in last] == [("4",)]


def test_a_value_that_is_none_is_parked_by_itself(sqlite: sa.Engine) -> None:
    """SQLite lets a text stand in a column of numbers."""
    with sqlite.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE goods (id INTEGER PRIMARY KEY, amount INTEGER, seq INTEGER)")
        connection.exec_driver_sql("INSERT INTO goods VALUES (1, 5, 1), (2, 'many', 2), (3, 7, 3)")
    source = SqlSource("shop_sqlite", table="goods", primary_key="id", cursor_field="seq", lag=0)
    with source.open() as session:
        chunks = list(
            session.read(
                batch_of(Window(None, Position("9")), 3), format=Format.ROWS, fields=["id", "amount"], chunk_rows=9
            )
        )
    assert [d.fields for c in chunks for d in c.payload] == [{"id": 1, "amount": 5}, {"id": 3, "amount": 7}]  # type: ignore[union-attr]
    assert [(r.key, r.reason) for c in chunks for r in c.rejected] == [
        (("2",), "column 'amount' has no value in Python: str instead of int")
    ]


def test_chunks_are_bounded_by_bytes(sqlite: sa.Engine) -> None:
    """Rows of any width: a chunk has no more than two megabytes, or one row."""
    table = made_on(sqlite, "shop_sqlite", NUMBER, "BIGINT")
    keys = table.keys(60)
    table.put([Made(key, n, "x" * (700_000 if n % 20 == 0 else 100)) for n, key in enumerate(keys)])
    with table.source.open() as source:
        batch = batch_of(Window(None, position_at(table, 99)), 60)
        chunks = list(source.read(batch, format=Format.ROWS, fields=["id", "body"], chunk_rows=1000))
    sizes = [sum(len(d.fields["body"]) for d in chunk.payload) for chunk in chunks]  # type: ignore[union-attr, index]
    assert max(sizes) <= 2 * 1024 * 1024
    assert [d.key for chunk in chunks for d in chunk.payload] == list(keys)  # type: ignore[union-attr]


def test_the_same_documents_as_of_the_native_source(on_postgres: sa.Engine, database: Database) -> None:
    """Key, version and every value: of a Postgres table both ways."""
    with database.connect() as connection:
        connection.execute(
            "CREATE TABLE goods (id uuid PRIMARY KEY, n bigint, price numeric(12,3), ratio double precision, small real,"
            " flag boolean, day date, at timestamptz NOT NULL, local timestamp, clock time, span interval, tags text[],"
            " doc jsonb, raw bytea,"
            " mood varchar(9))"
        )
        connection.execute(
            "INSERT INTO goods SELECT gen_random_uuid(), 9007199254740993 + i, i / 8.0, i / 3.0, 0.1, i % 2 = 0, '2026-02-28',"
            " '2026-03-01 12:00:00.123456+00'::timestamptz + i * interval '1 us', '0001-01-01 00:00:00.000001',"
            " '23:59:59.999999', '1 day 02:03:04.5', ARRAY['a', NULL, '\"'], '{\"a\": [1, 2.50, null]}', '\\x00ff', NULL"
            " FROM generate_series(1, 50) AS i"
        )
        connection.execute("CREATE INDEX ON goods (at, id)")
    said = {"table": "public.goods", "primary_key": "id", "cursor_field": "at", "lag": LAG}
    both = [PostgresSource(database.conn_id, **said), SqlSource(database.conn_id, **said)]
    read, types = [], []
    for source in both:
        with source.open() as session:
            read.append(
                documents_of(
                    table_of(source), session, Window(None, Position("2026-04-01 00:00:00+00")), format=Format.ROWS
                )
            )
            types.append({f.name: f.type for f in session.schema().fields})
    assert read[0] == read[1]
    assert len(read[0]) == 50
    assert types[0] == types[1]


def test_the_same_documents_as_of_the_native_source_of_mariadb(
    on_mariadb: sa.Engine, maria_database: MariaDatabase
) -> None:
    """The same of a table of MariaDB."""
    with on_mariadb.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE goods (id BIGINT UNSIGNED PRIMARY KEY, price DECIMAL(20, 3), ratio DOUBLE, small FLOAT, flag BOOLEAN,"
            " day DATE, at DATETIME(6) NOT NULL, seen TIMESTAMP(3) NULL, clock TIME(6), doc JSON, raw VARBINARY(9),"
            " mood ENUM('well', 'not'), tags SET('a', 'b'), bits BIT(9), body TEXT COLLATE utf8mb4_unicode_ci)"
        )
        connection.exec_driver_sql(
            "INSERT INTO goods SELECT 18446744073709551600 + seq, seq / 8, seq / 3, 0.1, MOD(seq, 2), '2026-02-28',"
            " '2026-03-01 12:00:00.123456' + INTERVAL seq MICROSECOND, '2026-03-01 12:00:00.125', '-23:59:59.999999',"
            " '{\"a\": [1, 2.50, null]}', x'00ff', 'not', 'a,b', b'100000001', CONCAT('it''s \\\\ ', UNHEX('F09F9880'))"
            " FROM seq_1_to_9"
        )
        connection.exec_driver_sql("INSERT INTO goods (id, at) VALUES (1, '2026-03-02')")
    said: dict[str, Any] = {
        "table": "goods",
        "primary_key": "id",
        "cursor_field": "at",
        "lag": LAG,
        "cursor_timezone": "UTC",
    }
    read, types = [], []
    for source in (MySqlSource("shop_mysql", **said), SqlSource("shop_mysql", **said)):
        with source.open() as session:
            window = Window(None, Position("2026-04-01 00:00:00"))
            read.append(documents_of(table_of(source), session, window, format=Format.ROWS))
            types.append({f.name: f.type for f in session.schema().fields})
    assert read[0] == read[1]
    assert [document.key for document in read[0]][:: len(read[0]) - 1] == [("18446744073709551601",), ("1",)]
    assert types[0] == types[1]


def test_check_says_that_open_transactions_cannot_be_seen(sqlite: sa.Engine) -> None:
    table = made_on(sqlite, "shop_sqlite", NUMBER, "BIGINT")
    with table.source.open() as source:
        found = {f.what: f for f in source.check()}  # type: ignore[attr-defined]
    assert {what: str(f.level) for what, f in found.items()} == {
        "table": "ok",
        "index": "ok",
        "open transactions": "warning",
        "horizon": "ok",
        "clock": "ok",
    }


def test_an_index_that_is_missing_is_said(sqlite: sa.Engine) -> None:
    table = made_on(sqlite, "shop_sqlite", NUMBER, "BIGINT")
    with sqlite.begin() as connection:
        connection.exec_driver_sql("DROP INDEX things_changed")
    with table.source.open() as source:
        (said,) = source.survey().warnings
    assert "CREATE INDEX things_changes ON things (changed, id);" in said


def test_a_key_that_stands_for_two_rows_is_refused(sqlite: sa.Engine) -> None:
    """Of a view nobody but the rows can tell."""
    with sqlite.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE goods (id INTEGER, seq BIGINT)")
        connection.exec_driver_sql("INSERT INTO goods VALUES (1, 1), (2, 2), (1, 3)")
        connection.exec_driver_sql("CREATE VIEW shown AS SELECT * FROM goods")
    source = SqlSource("shop_sqlite", table="shown", primary_key="id", cursor_field="seq", lag=0)
    with source.open() as session, pytest.raises(ConfigurationError, match="key 1 stands for 2 rows"):
        session.slices(Window(Position("3"), Position("9")), batch_rows=9, max_slices=9)


def test_a_key_that_is_none_any_more_stops_nothing(sqlite: sa.Engine) -> None:
    """As an index, or a parked document, has it after its column was altered; those that are keys still are found and read."""
    table = made_on(sqlite, "shop_sqlite", NUMBER, "BIGINT")
    first, second = table.keys(2)
    table.put([Made(first, 1, "one"), Made(second, 2, "two")])
    window = Window(None, Position(table.cursor(9)))
    batch = Batch("things", "g", 0, 1, window, 2, keys=(("abc",), second))
    with table.source.open() as session:
        assert list(session.look_up([("abc",), first], below=table.cursor(9))) == [first]
        for keys, found in ((batch.keys, [second]), ((("abc",),), [])):
            chunks = list(
                session.read(replace(batch, keys=keys), format=Format.ROWS, fields=("id", "body"), chunk_rows=5)
            )
            assert [document.key for chunk in chunks for document in chunk.payload] == found


def test_a_stream_from_sqlite_to_postgres(sqlite: sa.Engine, database: Database) -> None:
    """A whole life: a first load, changes, and a sweep that removes what was deleted."""
    table = made_on(sqlite, "shop_sqlite", NUMBER, "BIGINT")
    keys = table.keys(300)
    table.put([Made(key, n, f"text {n}") for n, key in enumerate(keys)])
    target = PostgresTarget(database.conn_id, index="public.things_index")
    runner = Runner(source=table.source, target=target, sizes=Sizes(batch_rows=50))
    assert runner.run().counts.created == 300
    table.put([Made(keys[0], 400, "changed"), Made(keys[1], 401, gone=True)])
    counts = runner.run().counts
    assert (counts.updated, counts.deleted) == (1, 1)
    with sqlite.begin() as connection:
        connection.exec_driver_sql("DELETE FROM things WHERE id IN (3, 4)")
    _, repaired = Sweeper(run=runner).sweep()
    assert repaired.counts.deleted == 2
    with database.connect() as connection:
        found = dict(connection.execute("SELECT id, body FROM public.things_index").fetchall())
    assert found == {1: "changed", **{n: f"text {n - 1}" for n in range(5, 301)}}


def test_a_stream_from_sqlite_to_a_search_engine(sqlite: sa.Engine, opensearch: SearchEngine) -> None:
    """Values arrive as they are, in the types that the columns are declared as, and the whole life is that of any stream."""
    with sqlite.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE things (id BIGINT PRIMARY KEY, seq BIGINT NOT NULL, gone BOOLEAN, price NUMERIC(12, 2), weight FLOAT,"
            " day DATE, at DATETIME, bytes BLOB, told JSON, body TEXT)"
        )
        connection.exec_driver_sql("CREATE INDEX things_seq ON things (seq, id)")
        connection.exec_driver_sql(
            "INSERT INTO things VALUES (9007199254740993, 1, false, 12.30, 1e-7, '2026-02-28', '2026-02-28 23:59:59.123456',"
            " x'00ff', '{\"a\": [1, null]}', 'it''s \"quoted\"\n\U0001f600'),"
            " (2, 2, false, NULL, NULL, NULL, NULL, NULL, NULL, ''),"
            " (3, 3, false, -0.05, 0, '0001-01-01', '1969-12-31 00:00:00', x'', '[]', 'three')"
        )
    source = SqlSource(
        "shop_sqlite", table="things", primary_key="id", cursor_field="seq", lag=0, soft_delete_column="gone"
    )
    runner = Runner(source=source, target=OpenSearchTarget("opensearch", index="sql-source-things"), chunk_rows=2)

    def found() -> dict[str, dict[str, Any]]:
        return opensearch.documents("sql-source-things") or {}

    assert runner.run().counts.created == 3
    documents = found()
    big = documents["9007199254740993"]
    assert big == {
        "id": 9007199254740993,
        "seq": 1,
        "gone": False,
        "price": 12.3,
        "weight": 1e-07,
        "day": "2026-02-28",
        "at": "2026-02-28T23:59:59.123456",
        "bytes": "AP8=",
        "told": {"a": [1, None]},
        "body": 'it\'s "quoted"\n\U0001f600',
    }
    assert documents["2"] == {**dict.fromkeys(big), "id": 2, "seq": 2, "gone": False, "body": ""}
    early = {"price": -0.05, "weight": 0, "day": "0001-01-01", "at": "1969-12-31T00:00:00", "bytes": "", "told": []}
    assert documents["3"] == {"id": 3, "seq": 3, "gone": False, **early, "body": "three"}
    with sqlite.begin() as connection:
        connection.exec_driver_sql("UPDATE things SET body = 'new', seq = 4 WHERE id = 3")
        connection.exec_driver_sql("UPDATE things SET gone = true, seq = 5 WHERE id = 2")
    runner.run()
    assert {key: document["body"] for key, document in found().items()} == {str(big["id"]): big["body"], "3": "new"}
    with sqlite.begin() as connection:
        connection.exec_driver_sql("DELETE FROM things WHERE id = 3")
    _, repaired = Sweeper(run=runner, max_delete_fraction=1).sweep()
    assert repaired.counts.deleted == 1
    assert set(found()) == {"9007199254740993"}


def table_of(source: Any) -> Any:
    """What the suite's helpers want of a table."""
    return SimpleNamespace(source=source, documents=lambda chunk, fields: chunk.payload)


def test_groups_on_sqlite(sqlite: sa.Engine, database: Database) -> None:
    source = SqlSource(
        "shop_sqlite",
        table="items",
        primary_key="id",
        cursor_field="updated_at",
        cursor_timezone="UTC",
        lag=timedelta(0),
        group_by="tenant",
    )
    with sqlite.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(
            "CREATE TABLE items (id INTEGER PRIMARY KEY, tenant TEXT, body TEXT, updated_at DATETIME)"
        )
        lives_of_groups(
            source,
            database,
            lambda statement, values: connection.exec_driver_sql(statement, tuple(values)),
        )
