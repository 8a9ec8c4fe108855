"""From Postgres into Postgres: ours against psql and against ``executemany``; planning against counting."""

from __future__ import annotations

from collections.abc import Callable

from airflow_reindex_provider.testing.postgres import Database
from tests.benchmarks import data, pg_ours, pg_unindexed, planning, psql, skewed
from tests.benchmarks.contest import Answer, median, process, rate, say
from tests.benchmarks.figures import Figure

REPETITIONS = 3


def figures(database: Database) -> list[Figure]:
    def run_psql(table: str) -> Answer:
        rows, seconds = psql.run(database, table, data.window(data.CHANGED))
        return {"rows": rows, "seconds": seconds}

    contestants: dict[str, Callable[[str], Answer]] = {
        "ours": lambda _: process("pg_ours", data.CHANGED),
        "psql": run_psql,
        "executemany": lambda table: process("executemany", database.dsn, table),
    }
    runs: dict[str, list[Answer]] = {name: [] for name in contestants}
    for _ in range(REPETITIONS):
        for name, run in contestants.items():
            runs[name].append(_contest(database, name, run))
    large = _contest(database, "ours", lambda _: process("pg_ours", data.ROWS), rows=data.ROWS)
    plan_s, count_s = planning.seconds(database)
    skewed.make(database)
    uneven = [process("pg_skewed", form) for form in ("copy", "rows")]
    pg_unindexed.make(database, data.CHANGED)
    unindexed = process("pg_unindexed", data.CHANGED)

    return [
        Figure.compared("pg_pg_vs_psql", rate(runs["ours"]), rate(runs["psql"]), "rows/s", at_least=0.9),
        Figure.compared("pg_pg_vs_executemany", rate(runs["ours"]), rate(runs["executemany"]), "rows/s", at_least=3.0),
        Figure.compared(
            "pg_pg_cpu_vs_executemany",
            median(runs["ours"], "cpu_s"),
            median(runs["executemany"], "cpu_s"),
            "s CPU",
            at_most=0.12,
        ),
        Figure.alone("peak_mb_over_imports_1m", median(runs["ours"], "peak_mb"), "MB", at_most=60.0),
        Figure.alone("peak_mb_over_imports_5m", large["peak_mb"], "MB", at_most=60.0),
        Figure.alone("pg_skewed_peak_mb", max(run["peak_mb"] for run in uneven), "MB", at_most=80.0),
        Figure.alone("pg_unindexed_progress_gap_s", unindexed["gap_s"], "s", at_most=2.0),
        Figure.alone("pg_unindexed_stop_s", unindexed["stopped_s"], "s", at_most=10.0),
        Figure.compared("plan_vs_count", plan_s * 1000, count_s * 1000, "ms", at_most=1.5),
    ]


def _contest(database: Database, name: str, run: Callable[[str], Answer], *, rows: int = data.CHANGED) -> Answer:
    """One run into an empty index, which all contestants have alike: ours, with its view, columns and indexes."""
    table = pg_ours.make_index(database)
    data.settle(database)
    try:
        answer = run(table)
    finally:
        with database.connect() as connection:
            connection.execute(f"DROP TABLE {table} CASCADE")
    if answer["rows"] != rows:
        raise RuntimeError(f"{name} wrote {answer['rows']} rows, not {rows}")
    say(f"{name}: {rows:,} rows in {answer['seconds']:.1f} s")
    return answer
