"""From MariaDB into Postgres and into nothing: ours against a plain dump, the same client's plain reading, and one's own loop."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from typing import cast

from airflow_reindex_provider.testing.mariadb import PASSWORD, InstalledMariaDB, MariaDatabase
from airflow_reindex_provider.testing.postgres import Database
from tests.benchmarks import mysql_ours
from tests.benchmarks.contest import Answer, median, process, rate, say
from tests.benchmarks.figures import Figure

ROWS = int(os.environ.get("BENCH_MYSQL_ROWS", "1000000"))
MORE = 5
"""So many times as many rows has the table, for what memory does then."""
REPETITIONS = 3
_FIRST = f"SELECT * FROM parcels WHERE id <= {ROWS} ORDER BY updated_at, id"
_MAKE = f"""CREATE TABLE parcels (id BIGINT PRIMARY KEY, title VARCHAR(80) NOT NULL, note TEXT NOT NULL,
 weight DECIMAL(12,3) NOT NULL, pieces INT NOT NULL,
 sent_at DATETIME(6), attributes JSON, updated_at TIMESTAMP(6) NOT NULL, KEY (updated_at, id)) AS
SELECT seq AS id, CONCAT('parcel ', seq) AS title, REPEAT(MD5(seq), 8) AS note, seq / 1000 AS weight, seq % 97 AS pieces,
 TIMESTAMPADD(SECOND, seq, '2025-01-01') AS sent_at, JSON_OBJECT('zone', seq % 9, 'tags', JSON_ARRAY('a', seq)) AS attributes,
 TIMESTAMPADD(MICROSECOND, seq * 1000, '2026-01-01') AS updated_at FROM seq_1_to_{MORE * ROWS}"""


def figures(database: Database) -> list[Figure]:
    with InstalledMariaDB() as server:
        maria = server.create_database("bench", conn_id="bench_maria")
        os.environ.update(maria.env)
        say(f"Making {MORE * ROWS:,} rows in MariaDB ...")
        maria.execute("SET GLOBAL time_zone = '+00:00'", _MAKE, "ANALYZE TABLE parcels")
        contestants: dict[str, Callable[[], Answer]] = {
            "ours": lambda: process("mysql_ours", ROWS),
            "ours, into nothing": lambda: process("mysql_sink", ROWS),
            "dump": lambda: _dump(maria),
            "client": lambda: process("mysql_reading", _FIRST),
            "loop": lambda: process("mysql_loop", maria.port, database.dsn, _FIRST),
        }
        runs: dict[str, list[Answer]] = {name: [] for name in contestants}
        for _ in range(REPETITIONS):
            for name, run in contestants.items():
                runs[name].append(_answer(database, name, run, ROWS))
        many = _answer(database, "ours", lambda: process("mysql_ours", MORE * ROWS), MORE * ROWS)
    ours = rate(runs["ours"])
    return [
        Figure.compared("mysql_pg_vs_dump", ours, rate(runs["dump"]), "rows/s", at_least=0.6),
        Figure.compared(
            "mysql_read_vs_dump", rate(runs["ours, into nothing"]), rate(runs["dump"]), "rows/s", at_least=0.6
        ),
        Figure.compared("mysql_pg_vs_client", ours, rate(runs["client"]), "rows/s", at_least=0.6),
        Figure.compared("mysql_pg_vs_loop", ours, rate(runs["loop"]), "rows/s", at_least=1.0),
        Figure.compared(
            "mysql_pg_cpu_vs_loop", median(runs["ours"], "cpu_s"), median(runs["loop"], "cpu_s"), "s", at_most=0.5
        ),
        Figure.alone("mysql_peak_mb_over_imports", median(runs["ours"], "peak_mb"), "MB", at_most=60.0),
        Figure.alone("mysql_peak_mb_of_five_times", many["peak_mb"], "MB", at_most=60.0),
    ]


def _answer(database: Database, name: str, run: Callable[[], Answer], rows: int) -> Answer:
    """Into an index of its own."""
    generation = mysql_ours.make_index(database)
    try:
        answer = run()
    finally:
        with database.connect() as connection:
            connection.execute(f"DROP TABLE {generation} CASCADE")
    if answer["rows"] != rows:
        raise RuntimeError(f"{name} has {answer['rows']} rows, not {rows}")
    say(f"{name}: {rows:,} rows in {answer['seconds']:.1f} s")
    return answer


def _dump(maria: MariaDatabase) -> Answer:
    """The rows as lines of text, as fast as the server and its own client have them."""
    client = shutil.which("mariadb") or "mysql"
    command = [
        client,
        "--no-defaults",
        "-h127.0.0.1",
        f"-P{maria.port}",
        f"-u{maria.user}",
        "--batch",
        "--quick",
        "bench",
    ]
    started = time.perf_counter()
    with subprocess.Popen(
        [*command, "--skip-column-names", "-e", _FIRST],
        stdout=subprocess.PIPE,
        env={**os.environ, "MYSQL_PWD": PASSWORD},
    ) as dumping:
        pipe = cast("io.BufferedReader", dumping.stdout)
        rows = sum(piece.count(b"\n") for piece in iter(lambda: pipe.read1(1 << 20), b""))
    return {"rows": rows, "seconds": time.perf_counter() - started}
