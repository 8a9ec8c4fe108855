"""Planning: cutting the changed rows' window into batches, against counting them."""

from __future__ import annotations

import statistics
import time

import psycopg

from airflow_reindex_provider.core.model import Position, Window
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.testing.postgres import Database
from tests.benchmarks import data
from tests.benchmarks.task import SOURCE

REPETITIONS = 9


def seconds(database: Database) -> tuple[float, float]:
    """Medians of planning and of the exact count, in turn on open connections."""
    start, end = data.window(data.CHANGED)
    window = Window(Position(start), Position(end))
    sizes = Sizes()
    plans: list[float] = []
    counts: list[float] = []
    with SOURCE.open() as source, database.connect() as connection:
        source.schema()
        for _ in range(REPETITIONS):
            started = time.perf_counter()
            slices = source.slices(window, batch_rows=sizes.batch_rows, max_slices=sizes.max_batches)
            planned = time.perf_counter()
            counted = _count(connection, start, end)
            counts.append(time.perf_counter() - planned)
            plans.append(planned - started)
            if slices.rows != counted:
                raise RuntimeError(f"{slices.rows} rows were planned, and there are {counted}")
    return statistics.median(plans), statistics.median(counts)


def _count(connection: psycopg.Connection[tuple[int]], start: str, end: str) -> int:
    row = connection.execute(
        f"SELECT count(*) FROM {data.TABLE} WHERE updated_at >= %s AND updated_at < %s", [start, end]
    ).fetchone()
    assert row is not None
    return row[0]
