"""The memory of a task grows neither with the rows of its batch nor with their width."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from indexing_process import started

from airflow_reindex_provider.core.model import Format
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner

MB = 1024
NARROW = "repeat(md5(n::text), 15)"
# Half a chunk of random text, which neither TOAST nor the wire makes shorter.
WIDE = "(SELECT string_agg(md5(n::text || m::text), '') FROM generate_series(1, 65536) m)"


@pytest.mark.parametrize(
    ("format", "body", "few", "many"),
    [
        (Format.PG_COPY, NARROW, 20_000, 200_000),
        (Format.ROWS, NARROW, 10_000, 60_000),
        (Format.PG_COPY, WIDE, 10, 60),
        (Format.ROWS, WIDE, 10, 60),
    ],
    ids=["copy, narrow", "rows, narrow", "copy, wide", "rows, wide"],
)
def test_memory_is_flat(database: Database, tmp_path: Path, format: Format, body: str, few: int, many: int) -> None:
    """Many times the rows need at most 20 MB more; rows are 500 bytes or 2 MB."""
    peaks = [peak_kb(database, tmp_path, format, body, rows) for rows in (few, many)]

    assert peaks[1] - peaks[0] < 20 * MB


def peak_kb(database: Database, folder: Path, format: Format, body: str, rows: int) -> int:
    table = f"items_{rows}"
    with database.connect() as connection:
        connection.execute(
            f"CREATE TABLE {table} (id int PRIMARY KEY, body text, updated_at timestamptz NOT NULL DEFAULT now())"
        )
        connection.execute(f"ALTER TABLE {table} ALTER body SET STORAGE EXTERNAL")
        connection.execute(f"INSERT INTO {table} SELECT n, {body} FROM generate_series(1, {rows}) n")
        connection.execute(f"CREATE INDEX ON {table} (updated_at, id)")
        connection.execute(f"ANALYZE {table}")
    source = {"conn_id": database.conn_id, "table": table, "primary_key": "id", "cursor_field": "updated_at"}
    target = {"conn_id": database.conn_id, "index": f"{table}_index"}
    run = Runner(
        source=PostgresSource(**source, margin=timedelta(0)),
        target=PostgresTarget(**target),
        sizes=Sizes(batch_rows=rows, max_batches=1),
    )
    (batch,) = run.plan().batches
    job = {
        "batch": batch.to_json(),
        "source": source,
        "target": target,
        "stream": run.stream,
        "format": format,
        "chunk_rows": 10_000,
        "resume": str(folder / f"{rows}.json"),
    }
    process, ends = started(job)
    result = ends.recv()
    process.join()
    assert result["created"] == rows
    return int(result["peak_kb"])
