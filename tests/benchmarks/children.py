"""Documents of two tables: a load against the one statement that makes them, copied by psql, and a run after a few changes, of a
small table and of a large one."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airflow_reindex_provider.core.model import Format
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.sources.sql.children import Child
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from tests.benchmarks.contest import Answer, median, rate, say
from tests.benchmarks.figures import Figure
from tests.benchmarks.psql import binary

ROWS = int(os.environ.get("BENCH_CHILDREN_ROWS", "1000000"))
SMALL = ROWS // 10
CHANGED = 1_000
REPETITIONS = 3

_MAKE = """
DROP TABLE IF EXISTS reviewed, reviews CASCADE;
CREATE TABLE reviewed (id bigint PRIMARY KEY, title text, updated_at timestamptz NOT NULL);
CREATE TABLE reviews (id bigint PRIMARY KEY, product_id bigint NOT NULL, stars int, body text, updated_at timestamptz NOT NULL);
INSERT INTO reviewed SELECT n, 'product ' || md5(n::text), timestamptz '2026-01-01Z' + n * interval '1 ms'
FROM generate_series(1, {rows}) n;
INSERT INTO reviews SELECT n, 1 + n % {rows}, n % 5, repeat(md5(n::text), 3), timestamptz '2026-01-02Z' + n * interval '1 ms'
FROM generate_series(1, 3 * {rows}) n;
CREATE INDEX ON reviewed (updated_at, id);
CREATE INDEX ON reviews (updated_at, product_id);
CREATE INDEX ON reviews (product_id);
"""
_ONE = """
SELECT id, title, updated_at, coalesce((SELECT jsonb_agg(jsonb_build_object('id', r.id, 'stars', r.stars, 'body', r.body)
  ORDER BY r.id) FROM reviews r WHERE r.product_id = p.id), '[]') AS reviews FROM reviewed p
"""
_CHANGES = """
UPDATE reviews SET updated_at = now(), body = 'changed'
WHERE id IN (SELECT n * {step} + {round} FROM generate_series(1, {count}) n)
"""


def runner() -> Runner:
    source = PostgresSource(
        "bench",
        table="public.reviewed",
        primary_key="id",
        cursor_field="updated_at",
        children=(
            Child(
                "reviews",
                table="public.reviews",
                foreign_key="product_id",
                cursor_field="updated_at",
                columns=("id", "stars", "body"),
            ),
        ),
    )
    return Runner(
        source=source, target=PostgresTarget("bench", index="public.reviewed_index"), sizes=Sizes(), stream="children"
    )


def figures(database: Database) -> list[Figure]:
    growth = {rows: _small_runs(database, rows) for rows in (SMALL, ROWS)}
    loads: dict[str, list[Answer]] = {"ours": [], "psql": [], "ours read": [], "psql read": []}
    contestants: dict[str, Callable[[Database], None]] = {
        "ours": _load,
        "psql": _psql,
        "ours read": _read,
        "psql read": _psql_read,
    }
    for _ in range(REPETITIONS):
        for name, run in contestants.items():
            with _timed(name, loads[name]):
                run(database)
    return [
        Figure.compared("children_vs_psql", rate(loads["ours"]), rate(loads["psql"]), "docs/s", at_least=0.8),
        Figure.compared(
            "children_read_vs_psql", rate(loads["ours read"]), rate(loads["psql read"]), "docs/s", at_least=0.8
        ),
        Figure.compared(
            "children_run_large_vs_small",
            median(growth[ROWS], "seconds") * 1000,
            median(growth[SMALL], "seconds") * 1000,
            "ms",
            at_most=1.3,
        ),
    ]


@contextmanager
def _timed(name: str, answers: list[Answer]) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds = time.perf_counter() - started
    say(f"{name}: {ROWS:,} documents in {seconds:.1f} s")
    answers.append({"rows": ROWS, "seconds": seconds})


def _small_runs(database: Database, rows: int) -> list[Answer]:
    """Runs after a thousand changed reviews, each of another product."""
    say(f"Making {rows:,} products ...")
    with database.connect() as connection:
        connection.execute(_MAKE.format(rows=rows))
        run = runner()
        run.source.install_tombstones()  # type: ignore[attr-defined]
        for table in ("reviewed", "reviews"):
            connection.execute(f"VACUUM (ANALYZE) {table}".encode())
        run.run()
        answers: list[Answer] = []
        for number in range(1 + REPETITIONS):
            changes = _CHANGES.format(step=rows // CHANGED - 1, round=number, count=CHANGED)
            connection.execute(changes.encode())
            connection.execute("SELECT pg_sleep(2.1)")
            started = time.perf_counter()
            outcome = run.run()
            answers.append({"seconds": time.perf_counter() - started})
            if outcome.counts.updated != CHANGED:
                raise RuntimeError(f"{outcome.counts} of {CHANGED} changes")
        # The first one reads what no run has read before.
        say(f"{rows:,} products: a run of {CHANGED:,} changes in {median(answers[1:], 'seconds'):.2f} s")
        return answers[1:]


def _load(database: Database) -> None:
    run = runner()
    with run.target.open(run.stream) as target:
        for generation in target.generations():
            with database.connect() as connection:
                connection.execute(f"DROP TABLE public.{generation.name.rpartition('.')[2]} CASCADE".encode())
    run.run()


def _read(database: Database) -> None:
    run = runner()
    plan = run.plan()
    fields = ["id", "title", "updated_at", "reviews"]
    with run.source.open() as source:
        for batch in plan.batches:
            for chunk in source.read(batch, format=Format.PG_COPY, fields=fields, chunk_rows=10_000):
                for _ in chunk.payload:
                    pass


def _psql(database: Database) -> None:
    psql = _command(database)
    subprocess.run([*psql, f"CREATE TABLE by_psql AS {_ONE} LIMIT 0"], check=True)
    with subprocess.Popen([*psql, f"COPY ({_ONE}) TO STDOUT (FORMAT binary)"], stdout=subprocess.PIPE) as reading:
        subprocess.run([*psql, "COPY by_psql FROM STDIN (FORMAT binary)"], stdin=reading.stdout, check=True)
    subprocess.run([*psql, "ALTER TABLE by_psql ADD PRIMARY KEY (id)"], check=True)
    subprocess.run([*psql, "DROP TABLE by_psql"], check=True)


def _psql_read(database: Database) -> None:
    statement = f"COPY ({_ONE}) TO STDOUT (FORMAT binary)"
    subprocess.run([*_command(database), statement], stdout=subprocess.DEVNULL, check=True)


def _command(database: Database) -> list[str]:
    return [str(binary()), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database.dsn, "-c"]
