"""The server that tests, benchmarks and the demo rely on."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from airflow.providers.postgres.hooks.postgres import PostgresHook

from airflow_reindex_provider.testing.postgres import EmbeddedPostgres

pytestmark = pytest.mark.versions


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder outside of pytest's own, which the server's user may not enter where tests run as root."""
    with tempfile.TemporaryDirectory(prefix="reindex-Test-") as name:
        yield Path(name)


@pytest.mark.parametrize("name", ["Data", "a-path-that-is-too-long-for-a-socket-" * 4])
def test_every_address_reaches_the_database(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    """psycopg and an Airflow connection reach a database with a strange name, wherever the data lie."""
    with EmbeddedPostgres(folder / name, durable=False) as postgres:
        database = postgres.create_database("Größe/1 ?", conn_id="strange")
        monkeypatch.setenv("AIRFLOW_CONN_STRANGE", database.env["AIRFLOW_CONN_STRANGE"])

        with database.connect() as connection:
            assert connection.execute("SELECT current_database()").fetchone() == ("Größe/1 ?",)
        assert PostgresHook("strange").get_first("SELECT current_database()") == ("Größe/1 ?",)


def test_committed_rows_survive_a_crash_and_the_next_owner(folder: Path):
    """A crash of the server and a new owner of the folder find what was committed."""
    with EmbeddedPostgres(folder / "data") as postgres:
        with postgres.database().connect() as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
        postgres.stop(crash=True)
        postgres.start()

    with EmbeddedPostgres(folder / "data") as postgres, postgres.database().connect() as connection:
        assert connection.execute("SELECT value FROM kept").fetchone() == (7,)


def test_the_server_of_a_killed_owner_ends():
    """The server ends and its temporary folder goes, though nobody was left to stop it."""
    code = (
        "import time\n"
        "from airflow_reindex_provider.testing.postgres import EmbeddedPostgres\n"
        "with EmbeddedPostgres(durable=False) as postgres:\n"
        "    pid = (postgres.data_dir / 'postmaster.pid').read_text().split()[0]\n"
        "    print(pid, postgres.data_dir, flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid, data_dir = owner.stdout.readline().split()
        server = psutil.Process(int(pid))
        watchdogs = [
            p for p in psutil.process_iter() if "reindex-pg-watchdog" in _arguments(p) and data_dir in _arguments(p)
        ]
        owner.send_signal(signal.SIGKILL)

    gone, alive = psutil.wait_procs([server, *watchdogs], timeout=60)
    assert len(gone) == 2
    assert alive == []
    assert not Path(data_dir).exists()


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
