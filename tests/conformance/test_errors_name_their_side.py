"""While a batch is read and written, an error of the source names the source and one of the target the target, in every format,
with the grant for the role that lacks it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.core.errors import ConfigurationError, ReindexError, TransientError
from airflow_reindex_provider.core.model import Batch, Chunk, Counts, Format, Schema, WriteResult
from airflow_reindex_provider.core.progress import Progress
from airflow_reindex_provider.core.running.indexing import index_batch
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.memory import MemoryReporter, MemoryResumeLog
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner

Connection = psycopg.Connection[Any]
FORMATS = [Format.PG_COPY, Format.BULK, Format.ROWS]


@pytest.fixture
def db(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """A table, and a role for each side."""
    roles = [f"{database.name}_{side}" for side in ("reader", "writer")]
    with database.connect() as connection:
        for role in roles:
            connection.execute(f"CREATE ROLE {role} LOGIN")
            monkeypatch.setenv(f"AIRFLOW_CONN_{role.upper()}", database.uri.replace("postgres@", f"{role}@"))
        connection.execute(f"GRANT pg_read_all_stats TO {roles[0]}; GRANT CREATE ON SCHEMA public TO {roles[1]}")
        connection.execute(
            "CREATE TABLE items (id int PRIMARY KEY, price int, note text, updated_at timestamptz NOT NULL DEFAULT now())"
        )
        connection.execute("INSERT INTO items SELECT n, n % 100, n::text FROM generate_series(1, 300) n")
        connection.execute(
            "CREATE VIEW numbers AS SELECT id, (note || left('x', price / 99))::int AS n, updated_at FROM items"
        )
        connection.execute(f"GRANT SELECT ON items, numbers TO {roles[0]}")
        yield connection
        for role in roles:
            connection.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def runner(database: Database, **read: Any) -> Runner:
    options = {"table": "items", "primary_key": "id", "cursor_field": "updated_at", "margin": timedelta(0), **read}
    return Runner(
        source=PostgresSource(f"{database.name}_reader", **options),
        target=PostgresTarget(f"{database.name}_writer", index="items_index"),
    )


class _Sink:
    """A target of any format that takes everything."""

    def fields(self, generation: str, schema: Schema) -> Sequence[str]:
        return [f.name for f in schema.fields]

    @contextmanager
    def writer(self, generation: str, schema: Schema, format: Format) -> Iterator[_Sink]:
        yield self

    def write(self, chunk: Chunk) -> WriteResult:
        return WriteResult(Counts(created=len(list(chunk.payload))))


def index(run: Runner, batch: Batch, format: Format) -> None:
    with run.sessions() as (source, target):
        index_batch(
            batch,
            source=source,
            target=_Sink() if format is Format.BULK else target,  # type: ignore[arg-type]
            format=format,
            chunk_rows=50,
            max_failures=0,
            progress=Progress(batch, "incremental", MemoryReporter()),
            resume=MemoryResumeLog(),
        )


SOURCE: dict[str, tuple[dict[str, Any], str, type[ReindexError], str]] = {
    "grant": (
        {},
        "REVOKE SELECT ON items FROM {reader}",
        ConfigurationError,
        'GRANT SELECT ON .*"items".* TO "{reader}"',
    ),
    "division": ({"row_filter": "100 / (price - 99) < 5"}, "", ConfigurationError, "division by zero, at .* key 99"),
    "cast": ({"table": "numbers"}, "", ConfigurationError, "integer.* key 99"),
    "timeout": ({}, "ALTER ROLE {reader} SET statement_timeout = 1000", TransientError, "statement timeout"),
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("what", SOURCE)
def test_an_error_of_the_source(database: Database, db: Connection, what: str, format: Format) -> None:
    """Whatever writes what is read, and wherever the payload is walked."""
    read, statement, kind, message = SOURCE[what]
    roles = {"reader": f"{database.name}_reader"}
    if what == "timeout":
        read = {"row_filter": "id < 250 OR pg_sleep(100) IS NULL"}
    run = runner(database, **read)
    (batch,) = run.plan().batches
    if statement:
        db.execute(statement.format(**roles))
    with pytest.raises(kind, match=rf"(?s)^Source .*{message.format(**roles)}") as raised:
        index(run, batch, format)
    assert "Target" not in str(raised.value)


TARGET: dict[str, tuple[str, type[ReindexError], str]] = {
    "grant": ("ALTER TABLE {table} OWNER TO postgres", ConfigurationError, 'permission denied.*TO "{writer}"'),
    "timeout": (
        "ALTER ROLE {writer} SET statement_timeout = 1000; CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(100); RETURN NEW; END $$;"
        " CREATE TRIGGER slow BEFORE INSERT ON {table} EXECUTE FUNCTION slow()",
        TransientError,
        "statement timeout",
    ),
}


@pytest.mark.parametrize("format", [Format.PG_COPY, Format.ROWS])
@pytest.mark.parametrize("what", TARGET)
def test_an_error_of_the_target(database: Database, db: Connection, what: str, format: Format) -> None:
    """It is never said of the source, from whichever thread it comes."""
    statement, kind, message = TARGET[what]
    run = runner(database)
    plan = run.plan()
    names = {"writer": f"{database.name}_writer", "table": plan.generation}
    db.execute(statement.format(**names))
    with pytest.raises(kind, match=rf"(?s)^Target .*{message.format(**names)}") as raised:
        index(run, plan.batches[0], format)
    assert "Source" not in str(raised.value)
