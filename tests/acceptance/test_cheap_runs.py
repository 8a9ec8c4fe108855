"""A run without changes costs the source a few cheap statements, in two messages."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner

ROWS = 200_000


@pytest.fixture
def large(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """A table of 200,000 rows, never changed since, its cursor column nullable and its statistics fresh."""
    with database.connect() as connection:
        connection.execute("CREATE TABLE items (id int PRIMARY KEY, seq bigint, body text, updated_at timestamptz)")
        connection.execute(
            "INSERT INTO items SELECT n, n, 'body', now() - interval '1 d' + n * interval '1 ms'"
            " FROM generate_series(1, %s) n",
            [ROWS],
        )
        connection.execute("CREATE INDEX ON items (updated_at, id)")
        connection.execute("CREATE INDEX ON items (seq, id)")
        connection.execute("VACUUM ANALYZE items")
        yield connection


@pytest.mark.parametrize(
    ("cursor_field", "tombstones", "messages"),
    [("updated_at", False, 2), ("updated_at", True, 3), ("seq", False, 4)],
)
def test_a_run_without_changes_is_cheap(
    database: Database,
    large: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    cursor_field: str,
    tombstones: bool,
    messages: int,
) -> None:
    """Two messages beside the settings of the session, one for the catalogue and one for the rows (tombstones are looked up by
    one more, and an integer cursor asks for its greatest value and for who is open), and no statement scans the table."""
    source = PostgresSource(
        database.conn_id,
        table="items",
        primary_key="id",
        cursor_field=cursor_field,
        tombstones=tombstones,
        margin=timedelta(0),
    )
    if tombstones:
        source.install_tombstones()
        large.execute("DELETE FROM items WHERE id % 10 = 0")
        large.execute("INSERT INTO items SELECT id, id, 'back', now() FROM items_tombstones WHERE id % 20 = 0")
        large.execute("VACUUM ANALYZE items, items_tombstones")
    run = Runner(
        source=source,
        target=PostgresTarget(database.conn_id, index="items_index", chunk_rows=100_000),
    )
    first = run.plan()
    run.settle(first, [run.index(batch) for batch in first.batches])
    large.execute("UPDATE items SET seq = seq + 1 WHERE id = %s", [ROWS])
    run.run()
    sent = spy(monkeypatch)

    plan = run.plan()

    assert plan.batches == ()
    ours = [(q, p) for tag, q, p in sent if tag.startswith("airflow_reindex_reader")]
    expected = messages if plan.window else messages - 1
    assert len(ours) == expected, ours
    for query, params in ((query, params) for message, params in ours for query in message.split(b"; ")):
        # The settings of the reading session stand for what it would have planned.
        explained = "\n".join(line for (line,) in large.execute(b"EXPLAIN " + query, params))
        assert "Seq Scan" not in explained.replace("Seq Scan on pg_", ""), explained


def spy(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bytes, Any]]:
    """Every message that any connection sends through ``execute``, with the name that its transaction has; without what begins
    transactions."""
    sent: list[tuple[str, bytes, Any]] = []
    execute = psycopg.Cursor.execute

    def noted(self: psycopg.Cursor[Any], query: Any, params: Any = None, **options: Any) -> Any:
        result = execute(self, query, params, **options)
        if isinstance(self, psycopg.ClientCursor):
            query, params = psycopg.ClientCursor(self.connection).mogrify(query, params), None
        text = (
            query.as_bytes(self)
            if hasattr(query, "as_bytes")
            else query
            if isinstance(query, bytes)
            else query.encode()
        )
        if not text.startswith(b"BEGIN"):
            sent.append((self.connection.info.parameter_status("application_name") or "", text, params))
        return result

    monkeypatch.setattr(psycopg.Cursor, "execute", noted)
    return sent
