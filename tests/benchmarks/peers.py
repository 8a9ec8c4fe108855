"""Changed rows into a full index, beside what else people load them with, where `make peers` has installed it: of Postgres
here. ``BENCH_UPDATED`` is how many rows there are; a fifth of them changes."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow_reindex_provider.testing.postgres import Database
from tests.benchmarks import data, peers_search
from tests.benchmarks.contest import Answer, median, process, rate, say, told
from tests.benchmarks.figures import Figure
from tests.benchmarks.runs import ROWS, SLICES, change, settle

PYTHON = Path(".cache/peers/bin/python")
REPETITIONS = 3
_SINCE = datetime(2026, 2, 1, tzinfo=UTC)


def figures() -> list[Figure]:
    if not PYTHON.exists():
        say("No peers here: `make peers` installs them into .cache/peers, and nothing else.")
        return []
    with data.server(ROWS) as database, tempfile.TemporaryDirectory() as folder:
        beside_dlt = _updates(database, folder)
    return [*beside_dlt, *peers_search.figures(PYTHON)]


def _updates(database: Database, folder: str) -> list[Figure]:
    ours: list[Answer] = []
    dlt: list[Answer] = []
    process("runs_updates", "plain", ROWS, data.first(ROWS)[0], str(_SINCE))
    process("peers_dlt", database.uri, folder, python=PYTHON)
    # What it has read up to is read again, since its cursor may have equals.
    for number in range(REPETITIONS):
        window = change(database, _SINCE + timedelta(days=number), number, 1)
        ours.append(process("runs_updates", "plain", ROWS // SLICES, *window))
        settle(database)
        dlt.append(process("peers_dlt", database.uri, folder, python=PYTHON))
        say(f"updates: {told(ours[-1])}; dlt {told(dlt[-1])}")
        _require_equal(database)
    return [
        Figure.compared("peers_dlt_rate", rate(ours), rate(dlt), "rows/s", at_least=1.5),
        Figure.compared("peers_dlt_cpu", median(ours, "cpu_s"), median(dlt, "cpu_s"), "s CPU", at_most=0.3),
    ]


def _require_equal(database: Database) -> None:
    """:raises RuntimeError: one of the indexes is not what the table is."""
    for index in ("public.plain", "peer.products"):
        with database.connect() as connection:
            row = connection.execute(
                f"SELECT count(*) FROM {data.TABLE} AS t JOIN {index} AS i USING (id, price, stock, updated_at)"
            ).fetchone()
        if row is None or row[0] != ROWS:
            raise RuntimeError(f"{index} has {row} of {ROWS} rows as they are")
