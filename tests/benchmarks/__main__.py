"""Runs every contestant and says how the figures stand. ``BENCH_JSON=path`` gets them as JSON too; 1 if a limit is missed."""

from __future__ import annotations

import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_reindex_provider.testing.postgres import Database
from tests.benchmarks import data
from tests.benchmarks.figures import HEADER, Figure

REPETITIONS = 3
Answer = dict[str, float]


def main() -> int:
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        # Before anything imports Airflow, which writes a configuration file into its home.
        os.environ.update(
            AIRFLOW_HOME=home, AIRFLOW__CORE__LOAD_EXAMPLES="False", AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR"
        )
        logging.disable(logging.INFO)
        _say(f"Making {data.ROWS:,} rows ...")
        with data.server() as database:
            os.environ.update(database.env)
            figures = [*_measure(database), *_measure_sweeps(database)]
    print(HEADER)
    for figure in figures:
        print(figure)
    _say(f"{time.monotonic() - started:.0f} s")
    if path := os.environ.get("BENCH_JSON"):
        Path(path).write_text(json.dumps([figure.to_json() for figure in figures], indent=2) + "\n")
    return 0 if all(figure.kept for figure in figures) else 1


def _measure(database: Database) -> list[Figure]:
    from tests.benchmarks import planning, psql

    def run_psql(table: str) -> Answer:
        rows, seconds = psql.run(database, table)
        return {"rows": rows, "seconds": seconds}

    contestants: dict[str, Callable[[str], Answer]] = {
        "ours": lambda _: _process("ours", str(data.CHANGED)),
        "psql": run_psql,
        "executemany": lambda table: _process("executemany", database.dsn, table),
    }
    runs: dict[str, list[Answer]] = {name: [] for name in contestants}
    for _ in range(REPETITIONS):
        for name, run in contestants.items():
            runs[name].append(_contest(database, name, run))
    large = _contest(database, "ours", lambda _: _process("ours", str(data.ROWS)), rows=data.ROWS)
    plan_s, count_s = planning.seconds(database)

    def median(name: str, of: str) -> float:
        return statistics.median(run[of] for run in runs[name])

    rate = {name: data.CHANGED / median(name, "seconds") for name in runs}
    return [
        Figure.compared("pg_pg_vs_psql", rate["ours"], rate["psql"], "rows/s", at_least=0.9),
        Figure.compared("pg_pg_vs_executemany", rate["ours"], rate["executemany"], "rows/s", at_least=3.0),
        Figure.compared(
            "pg_pg_cpu_vs_executemany", median("ours", "cpu_s"), median("executemany", "cpu_s"), "s CPU", at_most=0.12
        ),
        Figure.alone("peak_mb_over_imports_1m", median("ours", "peak_mb"), "MB", at_most=60.0),
        Figure.alone("peak_mb_over_imports_5m", large["peak_mb"], "MB", at_most=60.0),
        Figure.compared("plan_vs_count", plan_s * 1000, count_s * 1000, "ms", at_most=1.5),
    ]


def _measure_sweeps(database: Database) -> list[Figure]:
    from tests.benchmarks import sweep

    _say(f"Sweeping {sweep.ROWS:,} rows ...")
    sweep.make(database)
    with sweep.counted(database) as counter:

        def moved(what: str) -> tuple[int, Answer]:
            before = counter.bytes
            used = _process("sweep", what)
            return counter.bytes - before, used

        listing, listed = moved("list")
        sweeping, equal = moved("sweep")
        if listed["differences"] or equal["differences"]:
            raise RuntimeError("the sweep finds differences where there are none")
        sweep.harm(database)
        _, repaired = moved("sweep")
    if not repaired["exact"]:
        raise RuntimeError("the sweep does not find exactly what was planted, or does not repair it")
    for name, used in (("equal", equal), ("30 differences", repaired), ("all keys listed", listed)):
        _say(f"sweep, {name}: {used['seconds']:.1f} s, {used['cpu_s']:.1f} s CPU, {used['peak_mb']:.0f} MB")
    return [
        Figure.compared("sweep_equal_bytes", sweeping / 1000, listing / 1000, "kB", at_most=0.02),
        Figure.alone("sweep_peak_mb", max(repaired["peak_mb"], listed["peak_mb"]), "MB", at_most=60.0),
    ]


def _contest(database: Database, name: str, run: Callable[[str], Answer], *, rows: int = data.CHANGED) -> Answer:
    """One run into an empty index, which all contestants have alike: ours, with its view, columns and indexes."""
    from tests.benchmarks import ours

    table = ours.make_index(database)
    data.settle(database)
    try:
        answer = run(table)
    finally:
        with database.connect() as connection:
            connection.execute(f"DROP TABLE {table} CASCADE")
    if answer["rows"] != rows:
        raise RuntimeError(f"{name} wrote {answer['rows']} rows, not {rows}")
    _say(f"{name}: {rows:,} rows in {answer['seconds']:.1f} s")
    return answer


def _process(name: str, *arguments: str) -> Answer:
    """Run a contestant of its own module; what it answers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "answer")
        command = [sys.executable, "-m", f"tests.benchmarks.{name}", *arguments]
        subprocess.run(command, env={**os.environ, "BENCH_ANSWER": str(path)}, check=True)
        value: dict[str, Any] = json.loads(path.read_text())
    return value


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
