"""Sweeps of an index of a million documents: bytes moved where nothing differs, and what finding thirty differences takes.

The sweep runs in a process of its own, and both of its connections go through a counter.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from airflow.providers.postgres.hooks.postgres import PostgresHook  # noqa: F401 - by the first connection otherwise

from airflow_reindex_provider.core.keys import KeyRange
from airflow_reindex_provider.core.model import Checkpoint, Counts, Position
from airflow_reindex_provider.core.sweeping.comparing import Comparison
from airflow_reindex_provider.core.sweeping.records import Difference, SweepReport
from airflow_reindex_provider.core.sweeping.repairing import RepairResult
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.sources.postgres import session as postgres_session  # noqa: F401 - by the source otherwise
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.targets.postgres.statements import DELETED, VERSION
from airflow_reindex_provider.testing.memory import MemoryCheckpoint
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper
from tests.benchmarks.contest import Answer, process, say
from tests.benchmarks.counter import Counter
from tests.benchmarks.figures import Figure
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


@contextmanager
def counted(database: Database) -> Iterator[Counter]:
    """The connection ``bench_counted`` to this database, for this process and its children."""
    name = ".s.PGSQL.5432"
    with database.connect() as connection:
        row = connection.execute("SHOW unix_socket_directories").fetchone()
    assert row is not None
    server = str(Path(row[0], name))

    def connect() -> socket.socket:
        one = socket.socket(socket.AF_UNIX)
        one.connect(server)
        return one

    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(Path(folder, name)))
        listener.listen()
        os.environ["AIRFLOW_CONN_BENCH_COUNTED"] = f"postgres://postgres@{quote(folder, safe='')}/{database.name}"
        yield Counter(listener, connect)


def figures(database: Database) -> list[Figure]:
    say(f"Sweeping {ROWS:,} rows ...")
    make(database)
    with counted(database) as counter:

        def moved(what: str) -> tuple[int, Answer]:
            before = counter.bytes
            used = process("sweep", what)
            return counter.bytes - before, used

        listing, listed = moved("list")
        sweeping, equal = moved("sweep")
        if listed["differences"] or equal["differences"]:
            raise RuntimeError("the sweep finds differences where there are none")
        harm(database)
        _, repaired = moved("sweep")
    if not repaired["exact"]:
        raise RuntimeError("the sweep does not find exactly what was planted, or does not repair it")
    for name, used in (("equal", equal), ("30 differences", repaired), ("all keys listed", listed)):
        say(f"sweep, {name}: {used['seconds']:.1f} s, {used['cpu_s']:.1f} s CPU, {used['peak_mb']:.0f} MB")
    return [
        Figure.compared("sweep_equal_bytes", sweeping / 1000, listing / 1000, "kB", at_most=0.02),
        Figure.alone("sweep_peak_mb", max(repaired["peak_mb"], listed["peak_mb"]), "MB", at_most=60.0),
    ]


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
