"""A row that cannot be read, sent, transformed or encoded is parked by itself, with its key; the others arrive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Counts
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner

Connection = psycopg.Connection[Any]
ROWS = 40


@pytest.fixture
def db(database: Database) -> Iterator[Connection]:
    with database.connect() as connection:
        connection.execute(
            "CREATE TABLE items (id int PRIMARY KEY, note text, j jsonb, price int,"
            " updated_at timestamptz NOT NULL DEFAULT now())"
        )
        connection.execute("INSERT INTO items SELECT n, n::text, '{}', n FROM generate_series(1, %s) n", [ROWS])
        yield connection


def runner(database: Database, transform: Callable[[dict[str, Any]], Any] | None = None, **read: Any) -> Runner:
    options = {"primary_key": "id", "cursor_field": "updated_at", "margin": timedelta(0), **read}
    if "query" not in options:
        options.setdefault("table", "items")
    return Runner(
        source=PostgresSource(database.conn_id, **options),
        target=PostgresTarget(database.conn_id, index="items_index"),
        transform=transform,
        chunk_rows=7,
    )


def run(database: Database, transform: Callable[[dict[str, Any]], Any] | None = None, **read: Any) -> dict[str, str]:
    """Keys and reasons of what is refused; all others are created."""
    running = runner(database, transform, **read)
    plan = running.plan()
    results = [running.index(batch) for batch in plan.batches]
    running.settle(plan, results)
    refused = {"/".join(r.key): r.reason for result in results for r in result.rejected}
    counts = sum((result.counts for result in results), Counts())
    assert counts == Counts(created=ROWS - len(refused), failures=len(refused))
    return refused


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("'{\"n\": ' || repeat('9', 5000) || '}'", "ValueError"),
        ("repeat('[', 2000) || repeat(']', 2000)", "RecursionError"),
        ("repeat('{\"a\":', 2000) || '1' || repeat('}', 2000)", "RecursionError"),
    ],
    ids=["digits", "lists", "objects"],
)
def test_json_that_python_has_no_value_for(database: Database, db: Connection, value: str, reason: str) -> None:
    """The reason names the column; rows before and behind it, in its chunk too, arrive."""
    db.execute(f"UPDATE items SET j = ({value})::jsonb WHERE id IN (7, 30)")
    refused = run(database, lambda row: row)
    assert sorted(refused) == ["30", "7"]
    assert "column 'j'" in refused["7"]
    assert reason in refused["7"]
    # As it is, it passes where nothing has to be made of it.
    assert runner(database).format == "pg_copy"


def nested(levels: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(levels):
        made = [made]
    return made


class _Odd:
    """No form for JSON or for Postgres, and an error of its own."""

    def __str__(self) -> str:
        raise LookupError("no words for it")


class _WordlessError(Exception):
    def __str__(self) -> str:
        raise LookupError


def raising(error: BaseException) -> Callable[[], Any]:
    def make() -> Any:
        raise error

    return make


def endless() -> Any:
    return endless()


ODD: dict[str, Callable[[], Any]] = {
    "an error": raising(KeyError("x")),
    "an error without words": raising(_WordlessError()),
    "no memory": raising(MemoryError()),
    "recursion": endless,
    "a list": lambda: [1],
    "a text": lambda: "text",
    "a generator": lambda: (n for n in "ab"),
    "a name that is no text": lambda: {"note": "x", 1: 2},
    "an unknown field": lambda: {"nowhere": 1},
    "half a character": lambda: {"note": "\ud800"},
    "a NUL": lambda: {"note": "a\0b"},
    "a set": lambda: {"j": {1, 2}},
    "a set within": lambda: {"j": {"a": {1}}},
    "nested too deeply": lambda: {"j": nested(100_000)},
    "an object": lambda: {"j": _Odd()},
    "an object as text": lambda: {"note": _Odd()},
    "a generator as value": lambda: {"j": (n for n in "ab")},
    "too large a number": lambda: {"price": 10**30},
    "not a number": lambda: {"price": float("nan")},
    "digits": lambda: {"note": 10**5000},
    "digits in JSON": lambda: {"j": {"n": 10**5000}},
    "bytes in JSON": lambda: {"j": {"b": b"x"}},
    "a mixture": lambda: {"j": {"a": 1, 2: 3, None: {4}}},
}


@pytest.mark.parametrize("make", ODD.values(), ids=list(ODD))
def test_what_a_transform_makes_of_one_row(database: Database, db: Connection, make: Callable[[], Any]) -> None:
    """Whatever it raises or returns concerns this row alone."""
    refused = run(database, lambda row: make() if row["id"] == 7 else row)
    assert list(refused) == ["7"]
    assert refused["7"]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=["exit", "interrupt"])
def test_an_exit_is_not_swallowed(database: Database, db: Connection, error: BaseException) -> None:
    """Whoever ends the process means the process."""
    with pytest.raises(type(error)):
        run(database, lambda row: raising(error)())


def test_a_transform_that_uses_one_dict_for_all(database: Database, db: Connection) -> None:
    """Each document keeps what was in it when it was returned."""
    one: dict[str, Any] = {}

    def transform(row: dict[str, Any]) -> dict[str, Any]:
        one.update(row)
        return one

    assert run(database, transform) == {}
    assert db.execute("SELECT count(DISTINCT note) FROM items_index").fetchone() == (ROWS,)


# Postgres' own limit is a gigabyte; what it says there is raised here for less.
TOO_LARGE = """
CREATE FUNCTION sized(note text) RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN
  IF note = ANY (ARRAY[{ids}]) THEN RAISE EXCEPTION USING MESSAGE = '{message}', ERRCODE = '{code}'; END IF;
  RETURN note;
END $$;
CREATE VIEW sent AS SELECT id, sized(note) AS note, j, price, updated_at FROM items;
"""


@pytest.mark.parametrize("transform", [None, lambda row: row], ids=["bytes", "rows"])
@pytest.mark.parametrize("ids", [("1",), ("7", "8", "9"), ("40",), ("1", "20", "40")], ids=str)
@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("invalid memory alloc request size 1200000006", "XX000"),
        ("out of memory", "54000"),
        ("string too long to represent as jsonb string", "54000"),
        ("stack depth limit exceeded", "54001"),
        ("invalid byte sequence for encoding", "22021"),
    ],
)
def test_a_row_that_the_server_cannot_send(
    database: Database,
    db: Connection,
    message: str,
    code: str,
    ids: tuple[str, ...],
    transform: Callable[[dict[str, Any]], Any] | None,
) -> None:
    """It is found among the others, wherever it stands and however many there are."""
    db.execute(TOO_LARGE.format(ids=", ".join(f"'{n}'" for n in ids), message=message, code=code))
    refused = run(database, transform, table="sent")
    assert sorted(refused) == sorted(ids)
    assert all(message in reason for reason in refused.values())


@pytest.mark.parametrize("indexed", [True, False], ids=["index", "no index"])
@pytest.mark.parametrize(
    ("read", "what"),
    [
        ({"row_filter": "100 / (price - 7) > -1000"}, "division by zero"),
        (
            {"query": "SELECT id, (note || CASE id WHEN 7 THEN 'x' ELSE '' END)::int AS n, updated_at FROM items"},
            "integer",
        ),
        (
            {"query": "SELECT id, (SELECT 1 FROM generate_series(1, 1 + (id = 7)::int)) AS n, updated_at FROM items"},
            "row",
        ),
        ({"row_filter": "price::int2 * (CASE id WHEN 7 THEN 20000 ELSE 1 END)::int2 > 0"}, "out of range"),
    ],
    ids=["division", "cast", "two rows", "range"],
)
def test_sql_that_fails_at_a_row_is_an_error_with_its_key(
    database: Database, db: Connection, read: dict[str, Any], what: str, indexed: bool
) -> None:
    """The author mends it: the source, what failed and the row are named."""
    if indexed:
        db.execute("CREATE INDEX ON items (updated_at, id)")
    running = runner(database, lag=timedelta(0), **read)
    (batch,) = running.plan().batches
    with pytest.raises(ConfigurationError, match=rf"^Source .*{what}.*the key 7\. Mend") as raised:
        running.index(batch)
    assert "Target" not in str(raised.value)


def test_sql_that_fails_without_any_row_names_none(database: Database, db: Connection) -> None:
    """Where reading no row at all fails too, no row is blamed for it."""
    query = "SELECT id, n, updated_at FROM (SELECT i.*, sum(100 / (price - 7)) OVER () AS n FROM items AS i) AS s"
    running = runner(database, query=query, lag=timedelta(0))
    (batch,) = running.plan().batches
    with pytest.raises(ConfigurationError, match=r"^Source .*division by zero") as raised:
        running.index(batch)
    assert "key" not in str(raised.value)
