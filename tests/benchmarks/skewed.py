"""A table of which nobody knows that its rows are of uneven width: many narrow ones, then some that are far wider."""

from __future__ import annotations

from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.testing.postgres import Database

NARROW, WIDE = 20_000, 1_600
ROWS = NARROW + WIDE
WIDE_BYTES = 256_000

SOURCE = PostgresSource("bench", table="public.skewed", primary_key="id", cursor_field="updated_at")
WINDOW = ("2026-01-01 00:00:00+00", "2026-01-02 00:00:00+00")

_NARROW = f"""
CREATE TABLE public.skewed (id int PRIMARY KEY, note text, updated_at timestamptz NOT NULL);
ALTER TABLE public.skewed ALTER note SET STORAGE EXTERNAL;
CREATE INDEX ON public.skewed (updated_at, id);
INSERT INTO public.skewed
SELECT n, 'narrow', timestamptz '2026-01-01Z' + n * interval '1 ms' FROM generate_series(1, {NARROW}) AS n;
"""
_WIDE = f"""
INSERT INTO public.skewed
SELECT n, repeat(md5(n::text), {WIDE_BYTES // 32}), timestamptz '2026-01-01Z' + n * interval '1 ms'
FROM generate_series({NARROW + 1}, {ROWS}) AS n;
"""


def make(database: Database) -> None:
    with database.connect() as connection:
        connection.execute(_NARROW)
        # What the planner knows of the rows is that they are narrow.
        connection.execute("VACUUM ANALYZE public.skewed")
        connection.execute(_WIDE)
