"""The server, the table that everybody reads, and the tables that they write."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from airflow_reindex_provider.testing.postgres import Database, EmbeddedPostgres
from tests.benchmarks.contest import say

TABLE = "public.products"
COLUMNS = (
    *("id", "sku", "title", "category", "price", "stock", "active", "tags", "attributes", "description"),
    *("created_at", "updated_at"),
)
ROWS = 5_000_000
CHANGED = 1_000_000

_FIRST = datetime(2026, 1, 1, tzinfo=UTC)
_STEP = timedelta(milliseconds=10)

# The order of change is not that of the keys: what changed last lies anywhere among them. The factor shares no divisor
# with the number of rows, so every key comes once.
_SOURCE = """
CREATE TABLE {table} (
  id bigint NOT NULL, sku text NOT NULL, title text NOT NULL, category text NOT NULL, price numeric(10,2), stock integer,
  active boolean NOT NULL, tags text[], attributes jsonb, description text, created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);
INSERT INTO {table}
SELECT n::bigint * 3000017 % {rows}, 'SKU-' || n, 'Product ' || n || ' ' || md5(n::text), 'category ' || n % 97,
       (n % 100000) / 100.0, n % 500, n % 10 <> 0, ARRAY['tag ' || n % 13, 'tag ' || n % 17],
       jsonb_build_object('colour', 'c' || n % 7, 'weight', n % 300, 'maker', md5((n % 1000)::text)),
       repeat(md5((n * 31)::text) || ' ', 8), timestamptz '2020-01-01Z' + n * interval '1 s',
       timestamptz '{first}' + n * interval '{step_ms:g} ms'
FROM generate_series(1, {rows}) AS n;
ALTER TABLE {table} ADD PRIMARY KEY (id);
CREATE INDEX ON {table} (updated_at, id);
"""

# The same for all. Checkpoints happen where we ask for them, before each contestant, and nobody vacuums in between.
_SETTINGS = {"autovacuum": "off", "checkpoint_timeout": "1h", "max_wal_size": "16GB"}


def first(rows: int) -> tuple[str, str]:
    """Cursor values ``[start, end)`` that hold the first ``rows`` changes."""
    return str(_FIRST), str(_FIRST + _STEP * (rows + 1))


def window(rows: int) -> tuple[str, str]:
    """Cursor values ``[start, end)`` that hold the last ``rows`` changes."""
    return str(_FIRST + _STEP * (ROWS - rows + 1)), str(_FIRST + _STEP * (ROWS + 1))


@contextmanager
def server(
    rows: int, settings: Mapping[str, str] | None = None, *, kind: type[EmbeddedPostgres] = EmbeddedPostgres
) -> Iterator[Database]:
    """A server of its own, in a temporary folder, with a table of so many rows in a database ``bench``. By default it is durable.

    Its connection is in the environment meanwhile, for this process and its children.

    :param settings: that it starts with.
    """
    say(f"Making {rows:,} rows ...")
    source = _SOURCE.format(table=TABLE, rows=rows, first=_FIRST.isoformat(), step_ms=_STEP.total_seconds() * 1000)
    with kind(settings=settings) as postgres:
        database = postgres.create_database("bench")
        with database.connect() as connection:
            for name, value in _SETTINGS.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            connection.execute("SELECT pg_reload_conf()")
            connection.execute(source)
            connection.execute(f"VACUUM (ANALYZE) {TABLE}")
        os.environ.update(database.env)
        yield database


def settle(database: Database) -> None:
    """What earlier contestants left to be written is written, and the changed rows are in the cache."""
    start, end = window(CHANGED)
    with database.connect() as connection:
        connection.execute("CHECKPOINT")
        connection.execute(
            f"SELECT sum(length(description)) FROM {TABLE} WHERE updated_at >= %s AND updated_at < %s", [start, end]
        )
