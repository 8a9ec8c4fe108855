"""dlt, by its own incremental cursor and merge, into another schema of the same database: ``peers_dlt uri folder``. Run by the
Python of `make peers`; dlt keeps its state in the folder and in the database."""

from __future__ import annotations

import os
import sys

# Before dlt reads them: it warns of each column that it keeps as JSON, and tells its makers of each run.
os.environ.update(RUNTIME__LOG_LEVEL="ERROR", RUNTIME__DLTHUB_TELEMETRY="false")

import dlt
import psycopg2  # noqa: F401 - by the first connection otherwise
import sqlalchemy.dialects.postgresql  # noqa: F401 - likewise
from dlt.sources.sql_database import sql_table

from tests.benchmarks.meter import Meter, answer
from tests.benchmarks.peers_address import address

DATASET = "peer"


def main(uri: str, folder: str) -> None:
    at = address(uri)
    table = sql_table(
        credentials=at.replace("://", "+psycopg2://"),
        schema="public",
        table="products",
        incremental=dlt.sources.incremental("updated_at"),
        primary_key="id",
        write_disposition={"disposition": "merge", "strategy": "upsert"},
        backend="pyarrow",
    )
    destination = dlt.destinations.postgres(at)
    pipeline = dlt.pipeline("bench", pipelines_dir=folder, destination=destination, dataset_name=DATASET)
    meter = Meter()
    pipeline.run(table, loader_file_format="csv").raise_on_failed_jobs()
    used = meter.read()
    answer(rows=pipeline.last_trace.last_normalize_info.row_counts["products"], **used)


if __name__ == "__main__":
    main(*sys.argv[1:])
