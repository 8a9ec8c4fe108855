"""What an index on Postgres cannot be is said before a table is made, with the column or option and what to do; what a row cannot
be is parked with the column that it was."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Transform
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import FullText, PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper

Connection = psycopg.Connection[Any]
# Type, and a value that holds the word "lamp" where the type can.
TEXTS = {
    "text": "red lamp",
    "varchar(20)": "red lamp",
    "char(20)": "red lamp",
    "name": "lamp",
    "text[]": "{red,lamp}",
    "varchar(9)[]": "{red,lamp}",
    "jsonb": '{"a": ["red", "lamp"]}',
    "json": '"lamp"',
    "mood": "lamp",
    "label": "a lamp",
    "tags": "{lamp}",
    "pair": "(1,lamp)",
    "date": "2026-01-01",
    "timestamptz": "2026-01-01",
    "time": "12:00",
    "interval": "1 day",
    "integer": "5",
    "numeric": "5.0",
    "real": "0.5",
    "boolean": "true",
    "uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "inet": "10.0.0.1",
    "bytea": "\\x6162",
    "int4range": "[1,3)",
    "integer[]": "{5}",
    "point": "(1,2)",
    "tsvector": "lamp",
}
TYPES = """
CREATE TYPE mood AS ENUM ('lamp', 'sun'); CREATE DOMAIN label AS varchar(20); CREATE DOMAIN tags AS text[];
CREATE TYPE pair AS (a int, b text);
"""


@pytest.fixture
def db(database: Database) -> Iterator[Connection]:
    with database.connect() as connection:
        yield connection


def runner(database: Database, transform: Transform | None = None, query: str | None = None, **target: Any) -> Runner:
    source = PostgresSource(
        database.conn_id,
        **({"query": query} if query else {"table": "public.items"}),
        primary_key="id",
        cursor_field="updated_at",
        margin=timedelta(0),
    )
    options = {"index": "public.items_index", **target}
    return Runner(source=source, target=PostgresTarget(database.conn_id, **options), transform=transform)


def tables(db: Connection) -> list[str]:
    found = db.execute("SELECT relname FROM pg_class WHERE relname LIKE 'items_index%' AND relkind IN ('r', 'v')")
    return [name for (name,) in found]


def test_full_text_of_every_type_works_or_says_what_to_do(database: Database, db: Connection) -> None:
    """Either the words are found, or the error names the column, its type and the option that works, before a table is made."""
    db.execute(TYPES)
    refused: dict[str, str] = {}
    for number, (kind, value) in enumerate(TEXTS.items()):
        db.execute("DROP TABLE IF EXISTS items")
        db.execute(f"CREATE TABLE items (id int PRIMARY KEY, v {kind}, updated_at timestamptz DEFAULT now())")
        db.execute("INSERT INTO items VALUES (1, %s)", [value], prepare=False)
        run = runner(database, index=f"public.items_index_{number}", full_text=FullText(("v",), config="simple"))
        run.stream = kind
        try:
            run.run()
        except ConfigurationError as error:
            refused[kind] = str(error)
        if kind in refused:
            assert "full_text names 'v'" in refused[kind]
            assert "columns={'v': 'text'}" in refused[kind]
            assert not any(name.startswith(f"items_index_{number}") for name in tables(db))
            run = replace(run, target=replace(run.target, columns={"v": "text"}))  # type: ignore[type-var]
            run.run()
        if "lamp" in value:
            found = db.execute(f"SELECT id FROM items_index_{number} WHERE search @@ 'lamp'").fetchall()
            assert found == [(1,)], kind
    assert set(refused) == {
        "text[]",
        "varchar(9)[]",
        "tags",
        "date",
        "timestamptz",
        "interval",
        "int4range",
        "integer[]",
    }


@pytest.mark.parametrize(
    ("options", "query", "message"),
    [
        (
            {"full_text": FullText(("nothing",))},
            None,
            r"full_text names 'nothing', .* It has: id, n, note, updated_at\.",
        ),
        ({"full_text": FullText(("note",), config="klingon")}, None, r"config='klingon'.*It has: .*english.*simple"),
        (
            {"full_text": FullText(("note",), name="n")},
            None,
            r"full_text is to be called 'n'.*FullText\(\.\.\., name=\.\.\.\)",
        ),
        ({"full_text": FullText(("note",), name="n" * 64)}, None, r"'n{64}' has more than the 63 bytes"),
        ({"columns": {"ö" * 32: "text"}}, None, r"'ö{32}' has more than the 63 bytes"),
        ({"indexes": ("(note)", "(no_such)")}, None, r"indexes= has '\(no_such\)'.*no_such"),
        (
            {"indexes": ("USING gin (note gin_trgm_ops)",)},
            None,
            r"indexes= has 'USING gin \(note gin_trgm_ops\)'.*gin_trgm_ops",
        ),
        ({"indexes": ("(note) WHERE updated_at > now()",)}, None, r"indexes= has .*IMMUTABLE"),
        ({"columns": {"n": "intger"}}, None, "intger"),
        (
            {},
            "SELECT xmin::text AS xmin, * FROM items",
            r"the column name 'xmin' for itself\. Give it another name .*AS",
        ),
        ({}, "SELECT 1 AS tableoid, * FROM items", r"the column name 'tableoid' for itself"),
        ({}, "SELECT 1 AS _reindex_version, * FROM items", r"the column name '_reindex_version' for itself"),
        ({}, "SELECT true AS _reindex_deleted, * FROM items", r"the column name '_reindex_deleted' for itself"),
    ],
)
def test_what_an_index_cannot_be_is_said_before_it_is_made(
    database: Database, db: Connection, options: dict[str, Any], query: str | None, message: str
) -> None:
    """With the label of the index, and nothing is left of the try."""
    db.execute(
        "CREATE TABLE items (id int PRIMARY KEY, n int, note text, updated_at timestamptz NOT NULL DEFAULT now())"
    )
    db.execute("INSERT INTO items VALUES (1, 1, 'x')")
    run = runner(database, query=query, **options)
    with pytest.raises(ConfigurationError, match=message) as caught:
        run.run()
    assert run.target.label in str(caught.value)
    assert tables(db) == []


@pytest.mark.parametrize(("columns", "works"), [(1_598, False), (1_596, True)])
def test_tables_as_wide_as_can_be(database: Database, db: Connection, columns: int, works: bool) -> None:
    """The index adds two columns of its own to the source's."""
    names = ", ".join(f"c{n} int" for n in range(columns))
    db.execute(f"CREATE TABLE items (id int PRIMARY KEY, updated_at timestamptz NOT NULL DEFAULT now(), {names})")
    db.execute("INSERT INTO items VALUES (1, now(), 1)")
    if works:
        assert runner(database).run().counts.created == 1
        return
    with pytest.raises(
        ConfigurationError, match=r"1,600 columns and the 2 that the index adds .* columns= of the source"
    ):
        runner(database).run()


REFUSED = {
    "numeric(4,2)": ("12345", "numeric field overflow"),
    "smallint": ("123456", "smallint out of range|out of range for type smallint"),
    "integer": ("abc", "invalid input syntax for type integer"),
    "varchar(3)": ("abcd", r"value too long for type character varying\(3\)"),
    "char(3)": ("abcd", r"value too long for type character\(3\)"),
    "bit(3)": ("1010", r"bit string|too long"),
    "date": ("2026-02-30", "date/time field value out of range"),
    "jsonb": ("{", "invalid input syntax for type json"),
    "uuid": ("x", "invalid input syntax for type uuid"),
    "int[]": ("{a}", "invalid input syntax for type integer"),
    "varchar(3)[]": ("{abcd}", "value too long"),
}


@pytest.mark.parametrize("transform", [None, lambda document: document], ids=["pg_copy", "rows"])
def test_a_refused_value_is_told_with_its_column(
    database: Database, db: Connection, transform: Transform | None
) -> None:
    """Nothing is cut off to make it fit; the other rows are there, and the sweep finds the parked one missing."""
    for number, (kind, (value, message)) in enumerate(REFUSED.items()):
        if transform and kind == "jsonb":
            continue  # any Python value has a form in JSON
        db.execute("DROP TABLE IF EXISTS items")
        db.execute(
            "CREATE TABLE items (id int PRIMARY KEY, a text, v text, z text, updated_at timestamptz DEFAULT now())"
        )
        db.execute("INSERT INTO items VALUES (1, '1', %s, '1'), (2, '2', NULL, '2')", [value], prepare=False)
        columns = {"a": "varchar(3)", "v": kind, "z": "integer"}
        run = runner(database, transform, index=f"public.items_index_{number}", columns=columns)
        run.stream = kind
        outcome = run.run()
        assert (outcome.counts.created, outcome.counts.failures) == (1, 1), kind
        (parked,) = run.store.load(run.stream, outcome.plan.generation).parked
        assert parked.reason.startswith("column 'v': "), (kind, parked.reason)
        assert len(re.findall(message, parked.reason)) == 1, (kind, parked.reason)
        assert db.execute(f"SELECT id FROM items_index_{number}").fetchall() == [(2,)]


def test_a_value_without_a_text_form_is_told_with_its_column(database: Database, db: Connection) -> None:
    """Where the driver refuses it already."""
    db.execute("CREATE TABLE items (id int PRIMARY KEY, a text, v text, updated_at timestamptz DEFAULT now())")
    db.execute("INSERT INTO items VALUES (1, 'x', 'y')")
    run = runner(database, lambda document: {**document, "v": "nul \x00"})
    outcome = run.run()
    (parked,) = run.store.load(run.stream, outcome.plan.generation).parked
    assert parked.reason.startswith("column 'v': ")


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (
            "text",
            "(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 500) n)",
            "index row size|index row requires",
        ),
        (
            "text",
            "repeat('word ', 300000) || (SELECT string_agg('w' || n, ' ') FROM generate_series(1, 200000) n)",
            "tsvector",
        ),
    ],
    ids=["key", "tsvector"],
)
def test_what_is_too_large_for_an_index_is_parked(
    database: Database, db: Connection, kind: str, value: str, reason: str
) -> None:
    """A key beyond a third of a page, or more words than a tsvector holds: that row alone."""
    db.execute(f"CREATE TABLE items (id {kind}, note text, updated_at timestamptz NOT NULL DEFAULT now())")
    where = ("id", "note") if reason == "tsvector" else ("note", "id")
    db.execute(f"INSERT INTO items ({where[0]}, {where[1]}) SELECT 'large', {value}")
    db.execute("INSERT INTO items (id, note) VALUES ('small', 'x')")
    db.execute("UPDATE items SET id = coalesce(id, 'large')")
    run = runner(database, query="SELECT * FROM items", full_text=FullText(("note",)))
    outcome = run.run()
    assert (outcome.counts.created, outcome.counts.failures) == (1, 1)
    (parked,) = run.store.load(run.stream, outcome.plan.generation).parked
    assert re.search(reason, parked.reason)


def test_a_declared_length_is_no_reason_for_a_sweep_to_find_fault(database: Database, db: Connection) -> None:
    """What fits is the same on both sides, padded or not; the content of documents is compared too."""
    db.execute("CREATE TABLE items (id int PRIMARY KEY, a text, b text, updated_at timestamptz DEFAULT now())")
    db.execute("INSERT INTO items VALUES (1, 'x', '101')")
    run = runner(database, columns={"a": "char(3)", "b": "bit(3)"})
    run.run()
    report, _ = Sweeper(run=run, max_delete_fraction=1.0, what="content").sweep()  # type: ignore[arg-type]
    assert report.counts == {}


@pytest.mark.parametrize("transform", [None, lambda document: document], ids=["pg_copy", "rows"])
@pytest.mark.parametrize("later", [None, FullText(("note",), name="words")])
def test_another_full_text_is_for_the_next_generation(
    database: Database, db: Connection, transform: Transform | None, later: FullText | None
) -> None:
    """The live one goes on with the column that it has, whatever the stream says by now."""
    db.execute("CREATE TABLE items (id int PRIMARY KEY, note text, updated_at timestamptz NOT NULL DEFAULT now())")
    db.execute("INSERT INTO items VALUES (1, 'red lamp')")
    run = runner(database, transform, full_text=FullText(("note",)))
    run.run()
    db.execute("INSERT INTO items VALUES (2, 'lamp', clock_timestamp())")
    run = replace(run, target=replace(run.target, full_text=later))  # type: ignore[type-var]
    assert run.run().counts.created == 1
    assert db.execute("SELECT id FROM items_index WHERE search @@ 'lamp' ORDER BY 1").fetchall() == [(1,), (2,)]
