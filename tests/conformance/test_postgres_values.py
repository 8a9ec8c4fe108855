"""Whatever Postgres can hold arrives as it is: in both formats, whatever the session settings of roles and servers say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nasty_values import TYPES, VALUES
from psycopg import sql
from psycopg.types.json import Jsonb

from airflow_reindex_provider.core.model import Transform
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database, EmbeddedPostgres
from airflow_reindex_provider.testing.runs import Runner

pytestmark = pytest.mark.versions

FORMATS = [pytest.param(None, id="pg_copy"), pytest.param(lambda document: document, id="rows")]


@pytest.fixture(scope="module")
def shared(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """A database for the module: its tests make tables of their own."""
    database = postgres.create_database("values")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in database.env.items():
            patch.setenv(name, value)
        with database.connect() as connection:
            connection.execute(TYPES)
        yield database
    postgres.drop_database(database.name)


def runner(database: Database, table: str, index: str, transform: Transform | None = None, **options: Any) -> Runner:
    source = PostgresSource(
        database.conn_id,
        table=table,
        **{"primary_key": "id", "cursor_field": "updated_at", "margin": timedelta(0), **options},
    )
    return Runner(source=source, target=PostgresTarget(database.conn_id, index=index), transform=transform)


def different(connection: psycopg.Connection[Any], table: str, index: str) -> list[tuple[Any, ...]]:
    """Rows that are in one and not in the other, compared as Postgres writes them, so that -0 is not 0 and 1.10 not 1.1."""
    columns = [
        name
        for (name,) in connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum", [index]
        )
    ]
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(n)) for n in columns)
    # A view's name as it stands, quotes included.
    ours, theirs = (sql.SQL("SELECT {} FROM {}").format(texts, sql.SQL(n)) for n in (index, table))
    both = sql.SQL("({0} EXCEPT ALL {1}) UNION ALL ({1} EXCEPT ALL {0})").format(ours, theirs)
    return connection.execute(both).fetchall()


@pytest.mark.parametrize("transform", FORMATS)
def test_every_type_arrives_as_it_is(shared: Database, transform: Transform | None) -> None:
    """A column of each type with its nastiest values and NULL: the index equals the table."""
    kind = "rows" if transform else "copy"
    with shared.connect() as connection:
        columns = ", ".join(f'"c{n}" {name}' for n, name in enumerate(VALUES))
        connection.execute(
            f"CREATE TABLE every_{kind} (id serial PRIMARY KEY, updated_at timestamptz NOT NULL DEFAULT now(), {columns})"
        )
        connection.execute(f"INSERT INTO every_{kind} DEFAULT VALUES")
        for n, (name, values) in enumerate(VALUES.items()):
            for value in values:
                connection.execute(f'INSERT INTO every_{kind} ("c{n}") VALUES (({value})::{name})')

        outcome = runner(shared, f"every_{kind}", f"every_{kind}_index", transform).run()

        assert outcome.counts.created == 1 + sum(map(len, VALUES.values()))
        assert outcome.counts.failures == 0
        assert different(connection, f"every_{kind}", f"every_{kind}_index") == []


@pytest.mark.parametrize("transform", FORMATS)
def test_very_long_values_arrive(shared: Database, transform: Transform | None) -> None:
    """Five megabytes of text, bytes and JSON in one row."""
    kind = "rows" if transform else "copy"
    with shared.connect() as connection:
        connection.execute(
            f"CREATE TABLE long_{kind} (id int PRIMARY KEY, t text, b bytea, j jsonb, updated_at timestamptz DEFAULT now())"
        )
        connection.execute(
            f"INSERT INTO long_{kind} SELECT n, repeat('é\"\\', 1250000), convert_to(repeat('x', 5000000), 'UTF8'),"
            " jsonb_build_object('long', repeat('y', 5000000)) FROM generate_series(1, 2) n"
        )
        runner(shared, f"long_{kind}", f"long_{kind}_index", transform).run()

        assert connection.execute(
            f"SELECT count(*) FROM long_{kind} a JOIN long_{kind}_index b USING (id)"
            " WHERE a.t = b.t AND a.b = b.b AND a.j = b.j"
        ).fetchone() == (2,)


NAMES = [
    'quo"te',
    "it's",
    "{brace}",
    "{}",
    "%s",
    "%",
    "100%",
    "UPPER",
    "select",
    "a b",
    "é😀",
    "back\\slash",
    "a;DROP TABLE odd;--",
    "c",
    "h",
    "k0",
    "n",
    "r",
    "s",
    "t",
    "version",
    "gone",
    "nulls",
    "written",
    "created",
]


@pytest.mark.parametrize("transform", FORMATS)
def test_every_column_name_arrives(shared: Database, transform: Transform | None) -> None:
    """Quotes, braces, percent signs, reserved words, and the names our own statements use."""
    index = "odd_rows_index" if transform else "odd_copy_index"
    with shared.connect() as connection:
        columns = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(n)) for n in NAMES)
        connection.execute("DROP TABLE IF EXISTS odd")
        connection.execute(
            sql.SQL('CREATE TABLE odd (id int, {}, "up dated" timestamptz DEFAULT now(), PRIMARY KEY (id, {}))').format(
                columns, sql.Identifier("k0")
            )
        )
        values = sql.SQL(", ").join(sql.Literal(f"value of {n}") for n in NAMES)
        connection.execute(sql.SQL("INSERT INTO odd SELECT n, {} FROM generate_series(1, 3) n").format(values))

        runner(shared, "odd", index, transform, primary_key=("id", "k0"), cursor_field="up dated").run()

        assert different(connection, "odd", index) == []
        assert connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(index))).fetchone() == (3,)


@pytest.mark.parametrize("name", ["h", "r", "s", "reindex_staging", "Select", 'a "b" {c} %s', "t;--"])
def test_a_table_may_have_any_name(database: Database, name: str) -> None:
    """Also one that our statements use for themselves."""
    with database.connect() as connection:
        table = sql.Identifier(name)
        connection.execute(
            sql.SQL("CREATE TABLE {} (id int PRIMARY KEY, updated_at timestamptz NOT NULL DEFAULT now())").format(table)
        )
        connection.execute(sql.SQL("CREATE INDEX ON {} (updated_at, id)").format(table))
        connection.execute(sql.SQL("INSERT INTO {} SELECT generate_series(1, 9)").format(table))

    outcome = runner(database, name, f"{name} index").run()

    assert outcome.counts.created == 9


@pytest.mark.parametrize("transform", FORMATS)
def test_session_settings_do_not_matter(database: Database, transform: Transform | None) -> None:
    """Whatever the database sets for its sessions (time zone, date and interval style, byte and float output), values,
    versions and the horizon are the same."""
    with database.connect() as connection:
        for setting in (
            "TimeZone = 'Pacific/Chatham'",
            "DateStyle = 'SQL, DMY'",
            "IntervalStyle = 'iso_8601'",
            "bytea_output = 'escape'",
            "extra_float_digits = 0",
            "default_transaction_isolation = 'repeatable read'",
        ):
            connection.execute(
                sql.SQL("ALTER DATABASE {} SET {}").format(sql.Identifier(database.name), sql.SQL(setting))
            )
    with database.connect() as connection:
        connection.execute(
            "CREATE TABLE odd (id int PRIMARY KEY, ts timestamptz, d date, i interval, b bytea, f float8, r real,"
            " tr tstzrange, updated_at timestamptz DEFAULT now() - interval '1 hour')"
        )
        connection.execute(
            "INSERT INTO odd VALUES (1, '2026-11-01 01:30:00.123456-04', '2026-02-03', '1 mon 2 days 3 hours',"
            " '\\x00ff5c', 0.1::float8 + 0.2, 0.1, '[2026-01-02 00:00+00,)')"
        )
        run = runner(database, "odd", "odd_index", transform)
        plan = run.plan()
        run.settle(plan, [run.index(b) for b in plan.batches])

        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET DateStyle = 'ISO'")
        connection.execute("SET extra_float_digits = 1")
        assert different(connection, "odd", "odd_index") == []
        (version,) = connection.execute(
            sql.SQL("SELECT _reindex_version FROM {}").format(sql.Identifier(plan.generation))
        ).fetchone() or (None,)
        stamp = connection.execute("SELECT updated_at::text FROM odd").fetchone()
        assert version == plan.cursor_type.ordinal(stamp[0])  # type: ignore[index]
        assert run.run().counts.processed == 0


def test_a_document_that_cannot_be_written_is_rejected(shared: Database) -> None:
    """A transform may return what Postgres has no form for: that document alone is parked, with the reason."""
    bad: dict[int, Callable[[], Any]] = {
        1: lambda: "nul \x00",
        2: lambda: "half a pair \ud800",
        3: lambda: {"at": timedelta(1)},
        4: lambda: {1, 2},
        5: lambda: float("nan"),
        6: lambda: object(),
    }
    with shared.connect() as connection:
        connection.execute("CREATE TABLE bad (id int PRIMARY KEY, j jsonb, updated_at timestamptz DEFAULT now())")
        connection.execute("INSERT INTO bad SELECT n, '1' FROM generate_series(1, 20) n")
        run = runner(shared, "bad", "bad_index", lambda d: {**d, "j": bad[d["id"]]() if d["id"] in bad else "fine"})

        outcome = run.run()

        assert outcome.counts.failures == outcome.parked == len(bad)
        indexed = {id for (id,) in connection.execute("SELECT id FROM bad_index")}
        assert indexed == set(range(1, 21)) - set(bad)


_text = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=30)
_integers = st.integers(-(2**53), 2**53)
_decimals = st.decimals(allow_nan=False, allow_infinity=False).filter(lambda d: abs(d.adjusted()) < 500)
_json = st.recursive(
    st.none() | st.booleans() | _integers | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=8,
)
_documents = st.lists(
    st.fixed_dictionaries(
        {
            "t": st.none() | _text,
            "n": st.none() | st.just(Decimal("NaN")) | _decimals,
            # A JSON null alone comes to a transform as None, as NULL does.
            "j": st.none() | st.dictionaries(_text, _json, max_size=3) | st.lists(_json, max_size=3),
            "ta": st.none() | st.lists(st.none() | _text, max_size=4),
            "na": st.none() | st.lists(st.none() | _integers, max_size=4),
            "aa": st.none() | st.lists(st.lists(_text, min_size=2, max_size=2), min_size=1, max_size=3),
        }
    ),
    min_size=1,
    max_size=12,
)


@pytest.mark.parametrize("transform", FORMATS)
def test_any_value_arrives(shared: Database, transform: Transform | None) -> None:
    """Texts, numbers, JSON and arrays that hypothesis thinks of: the index equals the table."""
    kind = "rows" if transform else "copy"
    with shared.connect() as connection:
        connection.execute(
            f"CREATE TABLE any_{kind} (id serial PRIMARY KEY, t text, n numeric, j jsonb, ta text[], na bigint[], aa text[],"
            " updated_at timestamptz NOT NULL DEFAULT clock_timestamp())"
        )
        run = runner(shared, f"any_{kind}", f"any_{kind}_index", transform)

        @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(_documents)
        def every(documents: list[dict[str, Any]]) -> None:
            with connection.cursor() as cursor:
                cursor.executemany(
                    f"INSERT INTO any_{kind} (t, n, j, ta, na, aa) VALUES (%(t)s, %(n)s, %(j)s, %(ta)s, %(na)s, %(aa)s)",
                    [{**d, "j": None if d["j"] is None else Jsonb(d["j"])} for d in documents],
                )
            assert run.run().counts.failures == 0
            assert different(connection, f"any_{kind}", f"any_{kind}_index") == []

        every()
