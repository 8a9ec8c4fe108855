"""Ours, into Postgres."""

from __future__ import annotations

import sys

from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.targets.postgres.statements import DELETED, VERSION
from airflow_reindex_provider.testing.postgres import Database
from tests.benchmarks import data
from tests.benchmarks.task import SOURCE, STAMP, run

TARGET = PostgresTarget("bench", index="public.ours", indexes=("(category)",))
STREAM = Stream(name="bench", source=SOURCE, target=TARGET, max_failures=0)


def make_index(database: Database) -> str:
    """An empty live generation with its indexes; returns its table's name.

    The columns that we add to the source's get defaults, so that the rivals can leave them alone.
    """
    with SOURCE.open() as source, TARGET.open(STREAM.name) as target:
        generation = target.create_first(TARGET.generation_name(STAMP), source.schema())
        target.promote(generation)
    with database.connect() as connection:
        connection.execute(f"ALTER TABLE {generation} ALTER {VERSION} SET DEFAULT 0, ALTER {DELETED} SET DEFAULT false")
    return generation


if __name__ == "__main__":
    rows = int(sys.argv[1])
    run(STREAM, rows, data.window(rows))
