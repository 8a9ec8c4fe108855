"""Chunks as a source sends them to an index of texts in Postgres, and what becomes of them there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from airflow_reindex_provider.core.model import Chunk, Format, Position
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.targets.postgres.writer import PostgresWriter
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.target_conformance import text_schema


@contextmanager
def writing(
    database: Database, *, indexes: tuple[str, ...] = (), served: bool = True, has_deletes: bool = False
) -> Iterator[tuple[str, PostgresWriter]]:
    schema = replace(text_schema(), has_deletes=has_deletes)
    target = PostgresTarget(database.conn_id, index="things", indexes=indexes)
    with target.open("stream") as session:
        name = session.create_first(target.generation_name("20260101t000000"), schema)
        if served:
            session.promote(name)
        with session.writer(name, schema, Format.PG_COPY) as writer:
            yield name, writer


def chunk(database: Database, rows: Sequence[tuple[int, str, str | None]]) -> Chunk:
    """(version, id, body), as Postgres itself would send them; a deletion has no body."""
    values = ", ".join(
        f"({version}::bigint, {body is None}, '{key}'::text, {'NULL' if body is None else repr(body)}::text)"
        for version, key, body in rows
    )
    statement = f"COPY (SELECT * FROM (VALUES {values}) AS v) TO STDOUT (FORMAT binary)"
    with database.connect() as connection, connection.cursor() as cursor, cursor.copy(statement) as copy:
        pieces = [bytes(piece) for piece in copy]
    return Chunk(Position("1"), Format.PG_COPY, iter(pieces))


def held(database: Database, table: str) -> dict[str, tuple[int, str | None]]:
    with database.connect() as connection:
        rows = connection.execute(f"SELECT id, _reindex_version, body FROM {table}").fetchall()
    return {key: (version, body) for key, version, body in rows}


def until_somebody_waits(database: Database) -> None:
    deadline = time.monotonic() + 30
    with database.connect() as connection:
        while time.monotonic() < deadline:
            row = connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
            if row and row[0]:
                return
            time.sleep(0.02)
    raise AssertionError("nobody waits for a lock")
