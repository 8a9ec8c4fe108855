"""The target's disk is full: the batch fails and says so, nothing that was acknowledged is lost, and with more room it goes on
after its last acknowledged chunk."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_reindex_provider.core.errors import TransientError
from airflow_reindex_provider.core.running.indexing import WRITES_AT_ONCE
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.memory import MemoryResumeLog
from airflow_reindex_provider.testing.postgres import Database, EmbeddedPostgres
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper

ROWS = 16_000
"""Of a kilobyte each: twice what fits into the disk beside an empty database."""
_SMALL, _LARGE = "size=18m", "size=80m"


@pytest.fixture
def disk() -> Iterator[Path]:
    """A file system of its own, of 18 MB; not in pytest's folder, which is closed to the user whom the server runs as."""
    folder = Path(tempfile.mkdtemp(prefix="reindex-disk-"))
    mounting = ["mount", "-t", "tmpfs", "-o", _SMALL, "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mounting, check=False).returncode:
        folder.rmdir()
        pytest.skip("a disk of its own needs root and the right to mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()


@pytest.fixture
def server() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(durable=False) as postgres:
        yield postgres


@pytest.fixture
def small(disk: Path, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A database that lies on that disk, with all that is made in it."""
    if server.user is not None:
        shutil.chown(disk, server.user)
    with server.database().connect() as connection:
        connection.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
        connection.execute("CREATE DATABASE small TABLESPACE small STRATEGY file_copy")
    found = server.database("small")
    for name, uri in found.env.items():
        monkeypatch.setenv(name, uri)
    return found


def test_a_full_disk_costs_time_alone(
    small: Database, disk: Path, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = server.create_database("shop")
    for name, uri in shop.env.items():
        monkeypatch.setenv(name, uri)
    with shop.connect() as at_source:
        at_source.execute(
            "CREATE TABLE items (id int PRIMARY KEY, note text, v timestamptz DEFAULT now() - interval '1 h')"
        )
        at_source.execute("INSERT INTO items SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, %s) n", [ROWS])
        at_source.execute("CREATE INDEX ON items (v, id)")
    source = PostgresSource("shop", table="items", primary_key="id", cursor_field="v")
    run = Runner(source=source, target=PostgresTarget("small", index="items_index"), chunk_rows=500)
    plan = run.plan()
    (batch,) = plan.batches
    resume = MemoryResumeLog()

    with pytest.raises(TransientError) as raised:
        run.index(batch, resume=resume)

    assert str(raised.value).startswith("Target index 'items_index' on connection 'small'")
    assert "No space left on device" in str(raised.value)
    assert "Make room on the disk" in str(raised.value)
    stopped = resume.load()
    assert stopped is not None
    with small.connect() as connection:
        (acknowledged,) = connection.execute(f'SELECT count(*) FROM "{plan.generation}"').fetchone() or (0,)
    assert 500 <= acknowledged < ROWS
    # What is noted is there; what was committed beside the one that failed is not noted, and is written again.
    assert acknowledged - (WRITES_AT_ONCE - 1) * 500 <= stopped["counts"]["created"] <= acknowledged
    # A try that still finds no room writes nothing and loses nothing.
    with pytest.raises(TransientError):
        run.index(batch, resume=resume)
    assert run.store.load("stream", plan.generation).position is None

    subprocess.run(["mount", "-o", f"remount,{_LARGE}", disk], check=True)
    result = run.index(batch, resume=resume)
    assert (result.counts.processed, result.counts.failures) == (ROWS, 0)
    run.settle(plan, [result])

    with small.connect() as connection, shop.connect() as at_source:
        told = "SELECT count(*), sum(hashtext(id || note)::bigint) FROM {}"
        assert connection.execute(told.format("items_index")).fetchone() == (
            at_source.execute(told.format("items")).fetchone()
        )
    assert Sweeper(run=run).sweep()[0].counts == {}
