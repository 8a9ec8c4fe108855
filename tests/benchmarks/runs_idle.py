"""A run without changes, outside Airflow: planning and closing it, with the sessions that this takes."""

from __future__ import annotations

import statistics
import time

import psycopg

from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from tests.benchmarks import data
from tests.benchmarks.contest import say

ROWS = 100_000
REPETITIONS = 30


def seconds(database: Database) -> float:
    """The median of many."""
    with database.connect() as connection:
        _make(connection)
    run = Runner(
        source=PostgresSource("bench", table="public.idle", primary_key="id", cursor_field="updated_at"),
        target=PostgresTarget("bench", index="public.idle_index"),
    )
    run.run()
    # Or what was written until now would go to the disk while it is measured.
    data.settle(database)
    took = []
    for _ in range(REPETITIONS):
        began = time.perf_counter()
        plan = run.plan()
        run.settle(plan, [])
        took.append(time.perf_counter() - began)
        if plan.batches:
            raise RuntimeError(f"nothing has changed, and {plan.rows} rows are planned")
    say(
        f"a run without changes: {statistics.median(took) * 1000:.0f} ms, the fastest of {REPETITIONS} {min(took) * 1000:.0f}"
    )
    return statistics.median(took)


def _make(connection: psycopg.Connection[object]) -> None:
    connection.execute("CREATE TABLE public.idle (id int PRIMARY KEY, title text, updated_at timestamptz NOT NULL)")
    connection.execute("CREATE INDEX ON public.idle (updated_at, id)")
    connection.execute(
        "INSERT INTO public.idle SELECT n, 'product ' || n, now() - interval '1 d' + n * interval '1 ms'"
        " FROM generate_series(1, %s) AS n",
        [ROWS],
    )
    connection.execute("VACUUM (ANALYZE) public.idle")
