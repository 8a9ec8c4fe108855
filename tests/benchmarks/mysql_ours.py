"""Ours, from MariaDB into Postgres."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from airflow.providers.mysql.hooks.mysql import MySqlHook  # noqa: F401 - by the first connection otherwise

from airflow_reindex_provider.sources.mysql import MySqlSource
from airflow_reindex_provider.sources.mysql import session as mysql_session  # noqa: F401 - by the source otherwise
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.targets.postgres.statements import DELETED, VERSION
from airflow_reindex_provider.testing.postgres import Database
from tests.benchmarks.task import STAMP, run

SOURCE = MySqlSource("bench_maria", table="parcels", primary_key="id", cursor_field="updated_at")
TARGET = PostgresTarget("bench", index="public.parcels_index")
STREAM = Stream(name="bench-mysql", source=SOURCE, target=TARGET, max_failures=0)


def make_index(database: Database) -> str:
    """An empty live generation; returns its table's name."""
    with SOURCE.open() as source, TARGET.open(STREAM.name) as target:
        generation = target.create_first(TARGET.generation_name(STAMP), source.schema())
        target.promote(generation)
    with database.connect() as connection:
        connection.execute(f"ALTER TABLE {generation} ALTER {VERSION} SET DEFAULT 0, ALTER {DELETED} SET DEFAULT false")
    return generation


def window(rows: int) -> tuple[str, str]:
    """Cursor values ``[start, end)`` of the first rows: row n is of millisecond n."""
    end = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=rows, microseconds=1)
    return "2026-01-01 00:00:00+00", f"{end:%Y-%m-%d %H:%M:%S.%f}+00"


if __name__ == "__main__":
    wanted = int(sys.argv[1])
    run(STREAM, wanted, window(wanted))
