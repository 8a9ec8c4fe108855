"""What a swap in Postgres copies from the live generation to the new one, and what waits for it meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import TransientError
from airflow_reindex_provider.core.model import Chunk, Document, Field, Format, Key, Position, Schema
from airflow_reindex_provider.targets.postgres import FullText, PostgresTarget
from airflow_reindex_provider.targets.postgres import carrying as postgres_carrying
from airflow_reindex_provider.targets.postgres.session import PostgresTargetSession
from airflow_reindex_provider.testing.postgres import Database

pytestmark = pytest.mark.versions

OLD, NEW = "index_20260101t000000", "index_20260102t000000"
SCHEMA = Schema(
    fields=(
        Field("tenant", "text", "text", False),
        Field("id", "integer", "integer", False),
        Field("amount", "text", "text"),
        Field("old", "text", "text"),
    ),
    primary_key=("tenant", "id"),
    cursor_type=CursorType.INTEGER,
)


@pytest.fixture
def db(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with database.connect() as connection:
        yield connection


@contextmanager
def opened(database: Database, **options: Any) -> Iterator[PostgresTargetSession]:
    with PostgresTarget(database.conn_id, index="index", **options).open("stream") as session:
        yield session


def live(database: Database, *keys: Key, amount: str = "1") -> None:
    with opened(database) as session:
        session.create_first(OLD, SCHEMA)
        documents = [
            Document(key, 5, dict(zip(("tenant", "id"), key, strict=True), amount=amount, old="x")) for key in keys
        ]
        with session.writer(OLD, SCHEMA, Format.ROWS) as writer:
            writer.write(Chunk(Position("9"), Format.ROWS, documents))
        session.promote(OLD)


def test_columns_may_have_changed(database: Database, db: psycopg.Connection[Any]) -> None:
    """Shared columns are copied, cast where their type is another one now; generated ones are made anew. A document that
    does not fit is left out, and stops no other."""
    keys = [("it's", str(n)) for n in range(20)]
    live(database, *keys)
    db.execute(f"UPDATE {OLD} SET amount = 'much' WHERE id = 7")
    with opened(
        database, columns={"amount": "int", "made": "text"}, full_text=FullText(columns=("amount",))
    ) as session:
        session.create(NEW, Schema(SCHEMA.fields[:3], SCHEMA.primary_key, SCHEMA.cursor_type))
        carried = session.carry_over(keys, SCHEMA, from_generation=OLD, to_generation=NEW)
    assert carried == 19
    assert db.execute(f"SELECT count(*), sum(amount) FROM {NEW} WHERE _reindex_version = 5").fetchone() == (19, 19)
    assert db.execute(f"SELECT count(*) FROM {NEW} WHERE search @@ to_tsquery('1') AND made IS NULL").fetchone() == (
        19,
    )


def test_another_key_is_no_key(database: Database, db: psycopg.Connection[Any]) -> None:
    """Between generations of different primary keys nothing is copied."""
    live(database, ("a", "1"))
    by_id = Schema(SCHEMA.fields, ("id",), SCHEMA.cursor_type)
    with opened(database) as session:
        session.create(NEW, by_id)
        assert session.carry_over([("1",)], by_id, from_generation=OLD, to_generation=NEW) == 0
    assert db.execute(f"SELECT count(*) FROM {NEW}").fetchone() == (0,)


def test_writes_to_the_live_one_wait_and_searches_do_not(database: Database, db: psycopg.Connection[Any]) -> None:
    """From the carrying to the swap; then they take place, in the generation that they were meant for."""
    live(database, ("a", "1"))
    wrote = threading.Event()

    def write() -> None:
        with database.connect() as connection:
            connection.execute(f"UPDATE {OLD} SET amount = 'late'")
        wrote.set()

    writer = threading.Thread(target=write)

    def carry(generation: str) -> None:
        writer.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
        while db.execute(waiting, [OLD]).fetchone() != (1,):
            assert not wrote.is_set()
        assert db.execute("SELECT amount FROM index").fetchall() == [("1",)]

    with opened(database) as session:
        session.create(NEW, SCHEMA)
        session.promote(NEW, carry=carry)
    writer.join()
    assert db.execute("SELECT count(*) FROM index").fetchone() == (0,)
    assert db.execute(f"SELECT amount FROM {OLD}").fetchall() == [("late",)]


def test_a_chunk_that_does_not_end(
    database: Database, db: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The swap gives up after a while, with a transient error, and the live generation is served as before."""
    monkeypatch.setattr(postgres_carrying, "HOLD_TIMEOUT", "100ms")
    live(database, ("a", "1"))
    with opened(database) as session:
        session.create(NEW, SCHEMA)
        with db.transaction():
            db.execute(f"UPDATE {OLD} SET amount = 'on its way'")
            with pytest.raises(TransientError, match="the swap is to be tried again"):
                session.promote(NEW, carry=lambda generation: pytest.fail("carried without a hold"))
        session.promote(NEW, carry=lambda generation: None)
    assert db.execute("SELECT count(*) FROM index").fetchone() == (0,)
