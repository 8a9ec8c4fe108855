"""Sweeps of an index of a million documents: bytes moved where nothing differs, and what finding thirty differences takes.

The sweep runs in a process of its own, and both of its connections go through a counter.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from airflow.providers.postgres.hooks.postgres import PostgresHook  # noqa: F401 - by the first connection otherwise

from airflow_reindex_provider.core.keys import KeyRange
from airflow_reindex_provider.core.model import Checkpoint, Counts, Position
from airflow_reindex_provider.core.repairing import RepairResult
from airflow_reindex_provider.core.sweeping import Comparison, Difference, SweepReport
from airflow_reindex_provider.sources import postgres_session  # noqa: F401 - by the source otherwise
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.targets.postgres_statements import DELETED, VERSION
from airflow_reindex_provider.testing.memory import MemoryCheckpoint
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper
from tests.benchmarks.meter import Meter, answer

ROWS = 1_000_000
TABLE = "public.swept"
SOURCE = PostgresSource("bench_counted", table=TABLE, primary_key="id", cursor_field="updated_at")
TARGET = PostgresTarget("bench_counted", index="public.swept_index")
GENERATION = TARGET.generation_name("20260101t000000")
PLANTED = {Difference.MISSING: 10, Difference.STALE: 10, Difference.ORPHANED: 10}

_BOUND = "2026-06-01 00:00:00+00"
_MAKE = f"""
CREATE TABLE {TABLE} (id bigint PRIMARY KEY, body text, updated_at timestamptz NOT NULL);
INSERT INTO {TABLE} SELECT n, md5(n::text), timestamptz '2026-01-01Z' + n * interval '1 s'
FROM generate_series(1, {ROWS}) AS n;
CREATE INDEX ON {TABLE} (updated_at, id);
"""
_FILL = f"""
INSERT INTO {GENERATION} (id, body, updated_at, {VERSION}, {DELETED})
SELECT id, body, updated_at, (extract(epoch FROM updated_at) * 1000000)::bigint, false FROM {TABLE};
"""
_HARM = f"""
DELETE FROM {GENERATION} WHERE id % 100000 = 1;
UPDATE {GENERATION} SET {VERSION} = {VERSION} - 1 WHERE id % 100000 = 2;
DELETE FROM {TABLE} WHERE id % 100000 = 3;
"""


def make(database: Database) -> None:
    """The table, and an index that is equal to it."""
    with database.connect() as connection:
        connection.execute(_MAKE)
        source, target = (replace(side, conn_id=database.conn_id) for side in (SOURCE, TARGET))
        with source.open() as reading, target.open("bench") as writing:
            writing.create_first(GENERATION, reading.schema())
            writing.promote(GENERATION)
        connection.execute(_FILL)
        connection.execute(f"VACUUM (ANALYZE) {TABLE}")
        connection.execute(f"VACUUM (ANALYZE) {GENERATION}")


def harm(database: Database) -> None:
    """Ten documents missing, ten stale, ten orphaned."""
    with database.connect() as connection:
        for statement in _HARM.strip().splitlines():
            connection.execute(statement)


class Counter:
    """A server of the same name elsewhere, which counts the bytes that pass it, both ways."""

    def __init__(self, server: Path, own: Path) -> None:
        self._server = server
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(own))
        self._listener.listen()
        self._lock = threading.Lock()
        self.bytes = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._server))
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(256 * 1024):
                with self._lock:
                    self.bytes += len(data)
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_WR)


@contextmanager
def counted(database: Database) -> Iterator[Counter]:
    """The connection ``bench_counted`` to this database, for this process and its children."""
    name = ".s.PGSQL.5432"
    with database.connect() as connection:
        row = connection.execute("SHOW unix_socket_directories").fetchone()
    assert row is not None
    with tempfile.TemporaryDirectory() as folder:
        counter = Counter(Path(row[0], name), Path(folder, name))
        os.environ["AIRFLOW_CONN_BENCH_COUNTED"] = f"postgres://postgres@{quote(folder, safe='')}/{database.name}"
        try:
            yield counter
        finally:
            counter.close()


def main(what: str) -> None:
    """``sweep``: all that a SweepDag does. ``list``: all keys and versions of both sides, merged."""
    run = Runner(source=SOURCE, target=TARGET, stream="bench", store=MemoryCheckpoint())
    run.store.save(Checkpoint("bench", GENERATION, Position(_BOUND)))
    sweeper = Sweeper(run=run)
    meter = Meter()
    if what == "sweep":
        found, done = sweeper.sweep()
    else:
        plan, _ = sweeper.plan()
        with run.sessions() as (source, target):
            differences = sum(1 for _ in Comparison(plan, source=source, target=target).findings(KeyRange()))
        found, done = SweepReport(counts={Difference.NEWER: differences} if differences else {}), RepairResult()
    used = meter.read()
    exact = found.counts == PLANTED and done.counts == Counts(created=10, updated=10, deleted=10)
    answer(differences=found.differences, exact=exact, **used)


if __name__ == "__main__":
    main(sys.argv[1])
