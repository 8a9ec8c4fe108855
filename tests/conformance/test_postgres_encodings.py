"""Databases in other encodings than UTF-8: texts arrive as they are, or an error says that it is the encoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.core.model import Batch, Format, Position, Transform, Window
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database, EmbeddedPostgres
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper

pytestmark = pytest.mark.versions

FORMATS = [pytest.param(None, id="pg_copy"), pytest.param(lambda document: document, id="rows")]
Make = Callable[[str], Database]


@pytest.fixture
def encoded(postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes a database in an encoding, with an Airflow connection of that name."""

    @contextmanager
    def made(encoding: str) -> Iterator[Database]:
        name = encoding.lower()
        with postgres.database().connect() as admin:
            admin.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
        database = postgres.database(name)
        for variable, value in database.env.items():
            monkeypatch.setenv(variable, value)
        yield database
        postgres.drop_database(name)

    with ExitStack() as stack:
        yield lambda encoding: stack.enter_context(made(encoding))


def fill(connection: psycopg.Connection[Any], *rows: tuple[str, str]) -> None:
    connection.execute('CREATE TABLE items (id text PRIMARY KEY, "größe" text, updated_at timestamptz DEFAULT now())')
    for row in rows:
        connection.execute('INSERT INTO items (id, "größe") VALUES (%s, %s)', row)


def runner(source: str, target: str, transform: Transform | None) -> Runner:
    return Runner(
        source=PostgresSource(source, table="items", primary_key="id", cursor_field="updated_at", margin=timedelta(0)),
        target=PostgresTarget(target, index="public.items_index"),
        transform=transform,
    )


@pytest.mark.parametrize("transform", FORMATS)
@pytest.mark.parametrize(
    ("encoding", "texts"),
    [
        # The bytes of the last one are another text's in UTF-8.
        ("LATIN1", [("ä", "Grüße"), ("b", "plain"), ("ÿ", "¿qué?"), ("x", "Ã¤")]),
        ("EUC_JP", [("日", "本語"), ("b", "plain")]),
        ("SQL_ASCII", [("ä", "Grüße"), ("鍵", "😀")]),
    ],
)
def test_texts_arrive_as_they_are(
    database: Database, encoded: Make, encoding: str, texts: list[tuple[str, str]], transform: Transform | None
) -> None:
    """From a database of this encoding into one in UTF-8, names of columns included, and a sweep finds them equal."""
    source = encoded(encoding)
    with source.connect(client_encoding="UTF8") as db, database.connect() as there:
        fill(db, *texts)
        run = runner(source.conn_id, database.conn_id, transform)
        assert run.run().counts.created == len(texts)
        assert there.execute('SELECT id, "größe" FROM items_index ORDER BY id COLLATE "C"').fetchall() == sorted(texts)
        assert Sweeper(run=run).sweep()[0].differing == ()


def test_bulk_lines_are_utf8(encoded: Make) -> None:
    """Whatever the database is."""
    source = encoded("LATIN1")
    with source.connect(client_encoding="UTF8") as db:
        fill(db, ("ä", "Grüße"))
    with PostgresSource(source.conn_id, table="items", primary_key="id", cursor_field="updated_at").open() as session:
        session.schema()
        batch = Batch("s", "g", 0, 1, Window(None, Position("2999-01-01 00:00:00+00")), 1)
        chunks = session.read(batch, format=Format.BULK, fields=["id", "größe"], chunk_rows=10)
        lines = b"".join(piece for chunk in chunks for piece in chunk.payload)
    assert '{"id":"ä","größe":"Grüße"}' in lines.decode()


@pytest.mark.parametrize("transform", FORMATS)
def test_bytes_that_are_no_text_are_parked(database: Database, encoded: Make, transform: Transform | None) -> None:
    """SQL_ASCII takes any bytes: the reason says that it is the encoding, and what mends it; the other rows arrive."""
    source = encoded("SQL_ASCII")
    with source.connect() as db:
        db.execute(b"CREATE TABLE items (id text PRIMARY KEY, note text, updated_at timestamptz DEFAULT now())")
        db.execute(rb"INSERT INTO items VALUES ('a', 'plain'), ('b', E'caf\351')")
    run = runner(source.conn_id, database.conn_id, transform)
    outcome = run.run()
    assert (outcome.counts.created, outcome.counts.failures) == (1, 1)
    (parked,) = run.store.load(run.stream, outcome.plan.generation).parked
    assert parked.key == ("b",)
    assert "encoding" in parked.reason


@pytest.mark.parametrize("transform", FORMATS)
def test_an_index_that_cannot_hold_a_character(database: Database, encoded: Make, transform: Transform | None) -> None:
    """That document alone is parked, and the reason names the encoding."""
    target = encoded("LATIN1")
    with database.connect() as db:
        fill(db, ("a", "Grüße"), ("b", "鍵"))
    run = runner(database.conn_id, target.conn_id, transform)
    outcome = run.run()
    assert (outcome.counts.created, outcome.counts.failures) == (1, 1)
    (parked,) = run.store.load(run.stream, outcome.plan.generation).parked
    assert parked.key == ("b",)
    assert "LATIN1" in parked.reason


def test_a_document_that_cannot_be_written_takes_no_others_with_it(database: Database, encoded: Make) -> None:
    """Into a database without an encoding too: the one with a NUL is parked, and its neighbours' letters arrive."""
    target = encoded("SQL_ASCII")
    with database.connect() as db:
        fill(db, ("a", "Grüße"), ("b", "鍵"))
    outcome = runner(database.conn_id, target.conn_id, lambda d: {**d, "größe": "\0"} if d["id"] == "b" else d).run()
    assert (outcome.counts.created, outcome.counts.failures) == (1, 1)
