"""The memory of a task grows neither with the rows of its batch nor with their width."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from indexing_process import started

from airflow_reindex_provider.core.model import BatchResult, Format
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.sources.mysql import MySqlSource
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.sources.sql.children import Child
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.mariadb import MariaDatabase
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from tests.conformance.shop_mysql import AT

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
    source: dict[str, Any] = {"conn_id": database.conn_id, "table": table}
    source |= {"primary_key": "id", "cursor_field": "updated_at"}
    target = {"conn_id": database.conn_id, "index": f"{table}_index"}
    run = Runner(
        source=PostgresSource(**source, margin=timedelta(0)),
        target=PostgresTarget(**target),
        sizes=Sizes(batch_rows=rows, max_batches=1),
    )
    result = indexed(run, folder, {"source": source, "target": target, "format": format})
    assert result["created"] == rows
    return int(result["peak_kb"])


def test_a_list_past_its_limit_is_not_held(maria_database: MariaDatabase, database: Database, tmp_path: Path) -> None:
    """A document of MariaDB with 131,072 children needs no more than one with 16,384; both are parked, and say why."""
    common: dict[str, Any] = {"conn_id": maria_database.conn_id, "primary_key": "id", "cursor_field": "updated_at"}
    peaks = []
    for doublings in (14, 17):
        owners, listed = f"owners_{doublings}", f"listed_{doublings}"
        maria_database.execute(
            f"CREATE TABLE {owners} (id INT PRIMARY KEY, {AT}, KEY (updated_at, id))",
            f"CREATE TABLE {listed} (id INT PRIMARY KEY, owner INT, body TEXT, {AT}, KEY (owner), KEY (updated_at, owner))",
            f"INSERT INTO {owners} (id) VALUES (1)",
            f"INSERT INTO {listed} (id, owner, body) VALUES (0, 1, REPEAT('x', 500))",
            *(
                f"INSERT INTO {listed} (id, owner, body) SELECT id + {2**n}, owner, body FROM {listed}"
                for n in range(doublings)
            ),
        )
        child = Child("listed", table=listed, foreign_key="owner", cursor_field="updated_at", tombstones=False)
        source = {**common, "table": owners, "children": [child.to_json()]}
        target = {"conn_id": database.conn_id, "index": f"{owners}_index"}
        run = Runner(source=MySqlSource(**source, margin=timedelta(0)), target=PostgresTarget(**target))
        job = {"source": source, "target": target, "format": Format.ROWS, "mysql": True, "max_failures": 1}
        result = indexed(run, tmp_path, job)
        (rejection,) = BatchResult.from_json(result).rejected
        assert "listed has more than max_rows=10,000 rows" in rejection.reason
        peaks.append(int(result["peak_kb"]))
    assert peaks[1] - peaks[0] < 10 * MB


def indexed(run: Runner, folder: Path, said: dict[str, Any]) -> dict[str, Any]:
    """The run's one batch, by a process of its own. :param said: what a job says of source, target and format."""
    (batch,) = run.plan().batches
    job = {
        "batch": batch.to_json(),
        "stream": run.stream,
        "chunk_rows": 10_000,
        "resume": str(folder / f"{batch.generation}.json"),
        **said,
    }
    process, ends = started(job)
    result: dict[str, Any] = ends.recv()
    process.join()
    return result
