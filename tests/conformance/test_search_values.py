"""The lines that Postgres writes for a search engine are those that are made of rows, whatever the values; and an engine takes
them."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nasty_mysql import NASTY, in_json, make_items
from nasty_values import TYPES, VALUES

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Batch, Document, Format, Position, Rejection, Window
from airflow_reindex_provider.sources.mysql import MySqlSource
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.elasticsearch import ElasticsearchTarget
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.targets.search.answers import documents as split
from airflow_reindex_provider.targets.search.documents import bulk_lines
from airflow_reindex_provider.targets.search.mapping import vector_fields
from airflow_reindex_provider.targets.search.session import SearchTargetSession
from airflow_reindex_provider.testing.mariadb import MariaDatabase
from airflow_reindex_provider.testing.postgres import Database, EmbeddedPostgres
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.search_engine import SearchEngine

pytestmark = pytest.mark.versions

TARGETS = {"opensearch": OpenSearchTarget, "elasticsearch": ElasticsearchTarget}

WIDE = {
    "numeric": ["-1e-300", "'1' || repeat('0', 400) || '.' || repeat('1', 300)", "1e308", "1e309"],
    "date": ["'4713-01-01 BC'", "'5874897-12-31'"],
    "timestamp": ["'4713-01-01 00:00 BC'", "'294276-12-31 23:59:59.999999'", "'1969-12-31 23:59:59.5'"],
    "timestamptz": ["'4713-01-01 00:00+00 BC'", "'1883-11-18 12:03:58-04:56:02'", "'10000-01-01 00:00+00'"],
    "json": [
        'E\' {\\n\\t"a" :\\r\\n [ 1 , 2.50 , 1e3 ] , "b" : "\\\\n\\\\u00e9 \\\\" \\\\\\\\" }\\n\'',
        "'{\"n\": 12345678901234567890}'",
        "E'[\\n]'",
        "'null'",
    ],
    "jsonb": ['\'[[[[]]], {"": {"": null}}]\'', "'123456789012345678901234567890'", "'1e-7'"],
    "text[]": ["array[array[array['a', E'\\n']], array[array['\"', '\\']]]", "'[5:6]={a,b}'"],
    "timestamptz[]": ["array['2026-01-01 00:00:00.100000+00', '0044-03-15 00:00+00 BC']::timestamptz[]"],
    "json[]": ["array[E'{\\n \"a\": 1}'::json, '[ ]', null]"],
    "bytea": ["decode(repeat('ff', 100), 'hex')"],
}


@pytest.fixture(scope="module")
def connection(postgres: EmbeddedPostgres) -> Iterator[psycopg.Connection[Any]]:
    """A database for the module: its tests make tables of their own."""
    database = postgres.create_database("search_values")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in database.env.items():
            patch.setenv(name, value)
        with database.connect() as opened:
            opened.execute(TYPES)
            yield opened
    postgres.drop_database(database.name)


def source(table: str, conn_id: str = "search_values") -> PostgresSource:
    return PostgresSource(
        conn_id,
        table=table,
        primary_key="id",
        cursor_field="updated_at",
        margin=timedelta(0),
        soft_delete_column="gone",
    )


def either_way(table: str) -> tuple[list[Any], list[Any]]:
    """What the lines of all rows say: those that Postgres writes, and those that are made of Python values."""
    with source(table).open() as session:
        schema = session.schema()
        fields = [f.name for f in schema.fields]
        batch = Batch("s", "g", 0, 1, Window(None, Position("infinity")), 0)
        body = b"".join(
            piece
            for chunk in session.read(batch, format=Format.BULK, fields=fields, chunk_rows=7)
            for piece in cast("Iterator[bytes]", chunk.payload)
        )
        rows = [
            document
            for chunk in session.read(batch, format=Format.ROWS, fields=fields, chunk_rows=7)
            for document in cast("Sequence[Document]", chunk.payload)
        ]
    refused: list[Rejection] = []
    made = list(bulk_lines(rows, refused, vectors=vector_fields(schema)))
    assert refused == []
    return [read(lines) for lines in split(body)], [read(lines) for lines in made]


def read(lines: bytes) -> list[Any]:
    """Each line's JSON, numbers in full."""
    assert lines.endswith(b"\n")
    return [json.loads(line, parse_float=Decimal, parse_constant=no_json) for line in lines.splitlines()]


def differing(ours: list[Any], theirs: list[Any], *, floats: set[str]) -> list[tuple[Any, ...]]:
    """What the two say differently. Numbers are compared digit by digit, those of ``floats`` as the values that they are: an
    exponent may be written in several ways."""

    def plain(name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [plain(name, inner) for inner in value]
        return float(value) if name in floats and isinstance(value, int | Decimal) else value

    found: list[tuple[Any, ...]] = []
    for mine, other in zip(ours, theirs, strict=True):
        if mine[0] != other[0] or [list(line) for line in mine] != [list(line) for line in other]:
            found.append((mine, other))
        for one, two in zip(mine[1:], other[1:], strict=True):
            found += [
                (name, one[name], two.get(name)) for name in one if plain(name, one[name]) != plain(name, two.get(name))
            ]
    return found


def no_json(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def test_every_type(connection: psycopg.Connection[Any]) -> None:
    """A column of each type with its nastiest values and NULL, deletions among them."""
    values = {name: [*VALUES.get(name, []), *WIDE.get(name, [])] for name in dict.fromkeys([*VALUES, *WIDE])}
    columns = ", ".join(f'"c{n}" {name}' for n, name in enumerate(values))
    connection.execute(
        f"CREATE TABLE every (id serial PRIMARY KEY, gone boolean, updated_at timestamptz DEFAULT clock_timestamp(), {columns})"
    )
    connection.execute("INSERT INTO every (gone) VALUES (false), (true)")
    for n, (name, expressions) in enumerate(values.items()):
        for expression in expressions:
            connection.execute(f'INSERT INTO every ("c{n}") VALUES (({expression})::{name})')

    ours, theirs = either_way("every")

    assert len(ours) == 2 + sum(map(len, values.values()))
    floats = {f"c{n}" for n, name in enumerate(values) if name.startswith(("real", "double"))}
    assert differing(ours, theirs, floats=floats) == []


_text = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=30)
_space = st.text(" \t\n\r", max_size=3)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=8,
)
_spaced = st.builds(
    lambda value, before, after, comma, escaped: (
        before + json.dumps(value, separators=(f"{comma},{comma}", f"{comma}:"), ensure_ascii=escaped) + after
    ),
    *(_json, _space, _space, _space, st.booleans()),
)
_numbers = st.one_of(
    st.sampled_from([Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity")]),
    st.decimals(allow_nan=False, allow_infinity=False).filter(lambda d: abs(d.adjusted()) < 900),
)
_rows = st.lists(
    st.fixed_dictionaries(
        {
            "gone": st.none() | st.booleans(),
            "t": st.none() | _text,
            "n": st.none() | _numbers,
            "f": st.none() | st.floats(),
            "j": st.none() | _spaced,
            "b": st.none() | st.binary(max_size=80),
            "d": st.none() | st.dates() | st.sampled_from(["infinity", "-infinity", "0044-03-15 BC", "5874897-12-31"]),
            "z": st.none() | st.datetimes(timezones=st.timezones()),
            "ta": st.none() | st.lists(st.none() | _text, max_size=4),
            "aa": st.none() | st.lists(st.lists(st.floats(), min_size=2, max_size=2), min_size=1, max_size=3),
        }
    ),
    min_size=1,
    max_size=12,
)


def test_any_value(connection: psycopg.Connection[Any]) -> None:
    """Texts, numbers, JSON with white space, bytes, dates and arrays that hypothesis thinks of."""
    connection.execute(
        "CREATE TABLE anything (id serial PRIMARY KEY, t text, n numeric, f float8, j json, b bytea, d date, z timestamptz,"
        " ta text[], aa float8[], gone boolean, updated_at timestamptz NOT NULL DEFAULT clock_timestamp())"
    )

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(_rows)
    def every(rows: list[dict[str, Any]]) -> None:
        connection.execute("TRUNCATE anything")
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO anything (gone, t, n, f, j, b, d, z, ta, aa) VALUES (%(gone)s, %(t)s, %(n)s, %(f)s,"
                " %(j)s::text::json, %(b)s, %(d)s::text::date, %(z)s, %(ta)s, %(aa)s)",
                [{**row, "d": row["d"] and str(row["d"])} for row in rows],
            )
        ours, theirs = either_way("anything")
        assert len(ours) == len(rows)
        assert differing(ours, theirs, floats={"f", "aa"}) == []

    every()


@pytest.fixture(params=sorted(TARGETS))
def engine(request: pytest.FixtureRequest) -> SearchEngine:
    engine: SearchEngine = request.getfixturevalue(request.param)
    return engine


def test_an_engine_takes_every_type(engine: SearchEngine, database: Database) -> None:
    """With the derived mapping, all but a number of 2,000 digits, which is parked; the index holds the same documents by either
    way."""
    values = {name: [*VALUES.get(name, []), *WIDE.get(name, [])] for name in dict.fromkeys([*VALUES, *WIDE])}
    with database.connect() as connection:
        connection.execute(TYPES)
        columns = ", ".join(f'"c{n}" {name}' for n, name in enumerate(values))
        connection.execute(
            f"CREATE TABLE every (id serial PRIMARY KEY, gone boolean, updated_at timestamptz DEFAULT now(), {columns})"
        )
        for n, (name, expressions) in enumerate(values.items()):
            for expression in expressions:
                connection.execute(f'INSERT INTO every ("c{n}") VALUES (({expression})::{name})')
    run = Runner(source=source("every", database.conn_id), target=TARGETS[engine.name](engine.name, index="every"))
    rows = replace(run, transform=dict, target=replace(run.target, index="every-row"), stream="rows")

    bulk, made = run.run(), rows.run()

    assert (bulk.counts.failures, made.counts.failures) == (1, 1)
    assert engine.documents("every") == engine.documents("every-row")
    assert bulk.counts.created == sum(map(len, values.values())) - 1


def test_an_engine_takes_what_mariadb_holds(engine: SearchEngine, maria_database: MariaDatabase) -> None:
    """To the last digit and microsecond, in what the engine keeps of the document."""
    make_items(maria_database)
    held = MySqlSource(
        maria_database.conn_id, table="items", primary_key="id", cursor_field="updated_at", margin=timedelta(0)
    )
    outcome = Runner(source=held, target=TARGETS[engine.name](engine.name, index="nasty-maria")).run()
    assert (outcome.counts.created, outcome.parked) == (1, 0)
    engine.call("POST", "/nasty-maria/_refresh")
    with urllib.request.urlopen(f"{engine.url}/nasty-maria/_search") as answer:
        (hit,) = json.load(answer, parse_float=Decimal)["hits"]["hits"]
    found = hit["_source"]
    assert {name: found[name] for name in NASTY} == {name: in_json(value) for name, (_, _, value) in NASTY.items()}


VECTORS = {
    "v": ("vector(3)", ["'[1,2,3]'", "'[0,0,0]'", "'[1e-30,-0.1,3e10]'", "'[0.1,0.333333343,16777217]'"]),
    "h": ("halfvec(3)", ["'[1,2,3]'", "'[0,0,0]'", "'[0.1,65504,-6e-8]'"]),
    "any_length": ("vector", ["'[1]'", "'[1.5,2]'", "'[0,0,0,0]'"]),
    "any_half": ("halfvec", ["'[1]'", "'[0.1,2]'"]),
    "sparse": ("sparsevec(5)", ["'{1:1,3:0.5}/5'", "'{}/5'"]),
    "several": ("vector(3)[]", ["ARRAY['[1,2,3]','[0,0,0]']::vector(3)[]", "'{}'"]),
    "named": ("direction", ["'[1,2,3]'"]),
}
"""Columns of pgvector's types, with values."""


def make_vectors(connection: psycopg.Connection[Any], table: str) -> int:
    """A row for each value, and one of NULLs; returns their number."""
    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    connection.execute("CREATE DOMAIN direction AS vector(3)")
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in VECTORS.items())
    connection.execute(
        f"CREATE TABLE {table} (id serial PRIMARY KEY, gone boolean, updated_at timestamptz DEFAULT now(), {columns})"
    )
    connection.execute(f"INSERT INTO {table} DEFAULT VALUES")
    for name, (_, values) in VECTORS.items():
        for value in values:
            connection.execute(f"INSERT INTO {table} ({name}) VALUES ({value})")
    return 1 + sum(len(values) for _, values in VECTORS.values())


def test_vectors(connection: psycopg.Connection[Any]) -> None:
    """The dense ones stand in a document as arrays of numbers, digit by digit, whoever writes the lines; the others as text."""
    count = make_vectors(connection, "vectors")

    ours, theirs = either_way("vectors")

    assert len(ours) == count
    assert ours == theirs
    held = [{name: value for name, value in line[1].items() if value is not None} for line in ours]
    assert {"id": 5, "v": [Decimal("0.1"), Decimal("0.33333334"), 16777216]}.items() <= held[4].items()
    kinds = {name: type(document[name]) for document in held for name in VECTORS if name in document}
    assert kinds == {name: list if name in ("v", "h", "any_length", "any_half") else str for name in VECTORS}


def has_knn(engine: SearchEngine) -> bool:
    plugins = engine.call("GET", "/_nodes/plugins?filter_path=nodes.*.plugins.name")
    return engine.name == "elasticsearch" or "opensearch-knn" in json.dumps(plugins)


@pytest.mark.parametrize("transform", [None, dict], ids=["bulk", "rows"])
def test_an_engine_takes_vectors(engine: SearchEngine, database: Database, transform: Any) -> None:
    """All but those without a direction, which Elasticsearch parks, whoever writes the lines. What an index holds is what the
    source has, up to rounding; and documents are carried over with their vectors."""
    with database.connect() as connection:
        count = make_vectors(connection, "vectors")
    index = f"vectors-{uuid4().hex[:8]}"
    run = Runner(
        source=source("vectors", database.conn_id),
        target=TARGETS[engine.name](engine.name, index=index),
        transform=transform,
    )
    if not has_knn(engine):
        with pytest.raises(ConfigurationError, match=r"'v', 'h' hold vectors.*k-NN plugin: install"):
            run.run()
        return

    done = run.run()

    parked = {p.key[0]: p.reason for p in run.store.load(run.stream, done.plan.generation).parked}
    assert parked.keys() == ({"3", "7"} if engine.name == "elasticsearch" else set())
    assert all(reason.endswith("zero magnitude") for reason in parked.values())
    assert done.counts.created == count - len(parked)
    documents = engine.documents(index)
    assert documents is not None
    assert documents["2"]["v"] == pytest.approx([1, 2, 3])
    assert documents["5"]["v"] == pytest.approx([0.1, 0.333333343, 16777216])
    assert documents["10"]["any_length"] == [1.5, 2]

    session: SearchTargetSession
    with run.source.open() as opened, run.target.open(run.stream) as session:
        schema = opened.schema()
        batch = Batch(run.stream, done.plan.generation, 0, 1, Window(None, Position("infinity")), 0)
        rows = [
            document
            for chunk in opened.read(batch, format=Format.ROWS, fields=[f.name for f in schema.fields], chunk_rows=99)
            for document in cast("Sequence[Document]", chunk.payload)
        ]
        assert session.differing(done.plan.generation, rows, schema) == []
        off = [replace(row, fields={**(row.fields or {}), "v": "[1,2,3.1]"}) for row in rows if row.key == ("2",)]
        assert session.differing(done.plan.generation, off, schema) == [(("2",), "v")]
        second = run.target.generation_name("20270101t000000")
        session.create(second, schema)
        keys = [row.key for row in rows]
        session.carry_over(keys, schema, from_generation=done.plan.generation, to_generation=second)
        assert session.count(second) == count - len(parked)
        assert session.differing(second, rows, schema) == []
        session.promote(second)
    carried = engine.documents(index)
    assert carried is not None
    assert carried["5"]["v"] == pytest.approx([0.1, 0.333333343, 16777216])


JSONS = {
    "scalar": ("'1'", True, True),
    "empty name": ('\'{"": {"": 1}}\'', True, True),
    "dots in a name": ('\'{"a..b": 1, ".": 2}\'', True, True),
    "other types": ('\'[1, "a", {"b": [null, true]}, [2.5]]\'', True, True),
    "20 arrays": ("(repeat('[', 19) || repeat(']', 19))", True, True),
    "30 arrays": ("(repeat('[', 30) || repeat(']', 30))", False, True),
    "700 objects": ("(repeat('{\"a\":', 700) || 1 || repeat('}', 700))", True, True),
    "1,100 objects": ("(repeat('{\"a\":', 1100) || 1 || repeat('}', 1100))", False, False),
    "900 digits": ("repeat('9', 900)", True, True),
    "1,100 digits": ("repeat('9', 1100)", False, False),
    "a name twice": ('\'{"a": 1, "a": 2}\'', False, False),
}
"""SQL of a text that is JSON, and whether OpenSearch and Elasticsearch take a document with it."""


@contextmanager
def deeper() -> Iterator[None]:
    """Lets Python go deeper than it does by default."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(before + 2000)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def test_what_an_engine_takes_of_json(engine: SearchEngine, database: Database) -> None:
    """What it cannot read is parked with its reason, in which nothing of the row stands; all else arrives as it is."""
    with database.connect() as connection:
        connection.execute(
            "CREATE TABLE notes (id text PRIMARY KEY, j json, gone bool, updated_at timestamptz DEFAULT now())"
        )
        for name, (text, *_) in JSONS.items():
            connection.execute(f"INSERT INTO notes (id, j) VALUES (%s, ({text})::json)", [name])
        texts = dict(connection.execute("SELECT id, j::text FROM notes").fetchall())
    index = f"json-{uuid4().hex[:8]}"
    run = Runner(source=source("notes", database.conn_id), target=TARGETS[engine.name](engine.name, index=index))

    done = run.run()

    taken = {name for name, (_, *takes) in JSONS.items() if takes[sorted(TARGETS, reverse=True).index(engine.name)]}
    if (engine.name, engine.version.partition(".")[0]) == ("opensearch", "2"):
        # Its limit on the depth of JSON came with 3.0.
        taken.add("1,100 objects")
    # 700 objects are near the limit of this interpreter, as deep as it is in a test.
    with deeper():
        documents = engine.documents(index)
        assert documents is not None
        assert documents.keys() == taken
        assert all(documents[name]["j"] == json.loads(texts[name]) for name in taken)
    parked = {p.key[0]: p.reason for p in run.store.load(run.stream, done.plan.generation).parked}
    assert parked.keys() == JSONS.keys() - taken
    assert not [reason for reason in parked.values() if '"j"' in reason or "Source:" in reason]
