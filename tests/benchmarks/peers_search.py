"""Changed rows into the full index of a search engine, beside PGSync. ``BENCH_SEARCHED`` is how many rows there are; a fifth of
them changes. PGSync reads a replication slot by ``test_decoding``, which the embedded Postgres comes without: so both read
the system's own one."""

from __future__ import annotations

import json
import os
import tempfile
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_reindex_provider.testing.installed_postgres import InstalledPostgres, find_programs
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.redis_server import RedisServer, find_redis
from airflow_reindex_provider.testing.search_engine import SearchEngine
from tests.benchmarks import data
from tests.benchmarks.contest import Answer, median, process, rate, say, told
from tests.benchmarks.engines import ask, on, opensearch, the_others
from tests.benchmarks.figures import Figure
from tests.benchmarks.runs import SLICES, change, settle

ROWS = int(os.environ.get("BENCH_SEARCHED", "250000"))
REPETITIONS = 3
OURS = "bench_updates"
THEIRS = "bench_pgsync"
_SINCE = datetime(2026, 2, 1, tzinfo=UTC)


def figures(python: Path) -> list[Figure]:
    try:
        find_programs()
        find_redis()
    except RuntimeError as error:
        say(f"Nothing beside PGSync: {error}")
        return []
    with (
        opensearch("bench_search") as engine,
        on(the_others()),
        data.server(ROWS, kind=InstalledPostgres) as database,
        RedisServer() as redis,
        tempfile.TemporaryDirectory() as folder,
    ):
        return _updates(engine, database, redis, folder, python)


def _updates(engine: SearchEngine, database: Database, redis: RedisServer, folder: str, python: Path) -> list[Figure]:
    def theirs(rows: int, *more: str) -> Answer:
        where = (database.uri, engine.url, redis.url, folder, THEIRS)
        return process("peers_pgsync", *where, rows, *more, python=python)

    def ours(window: tuple[str, str], rows: int) -> Answer:
        return process("peers_search_ours", rows, *window)

    say(f"first load: {told(ours((data.first(ROWS)[0], str(_SINCE)), ROWS))}")
    _make_theirs(engine)
    say(f"first load, PGSync: {told(theirs(ROWS, 'bootstrap'))}")
    _require_equal(engine, database)
    runs: dict[str, list[Answer]] = {"ours": [], "PGSync": []}
    for number in range(REPETITIONS):
        window = change(database, _SINCE + timedelta(days=number), number, 1)
        runs["ours"].append(ours(window, ROWS // SLICES))
        settle(database)
        runs["PGSync"].append(theirs(ROWS // SLICES))
        say(f"updates: {told(runs['ours'][-1])}; PGSync {told(runs['PGSync'][-1])}")
        _require_equal(engine, database)
    cpu = {name: median(answers, "cpu_s") for name, answers in runs.items()}
    return [
        Figure.compared("peers_pgsync_rate", rate(runs["ours"]), rate(runs["PGSync"]), "docs/s", at_least=3),
        Figure.compared("peers_pgsync_cpu", cpu["ours"], cpu["PGSync"], "s CPU", at_most=0.1),
    ]


def _make_theirs(engine: SearchEngine) -> None:
    """An index with the mapping and the shards of ours, where PGSync would guess them; what it adds of itself is not indexed."""
    (made,) = ask(engine, "GET", OURS).values()
    mappings = {"dynamic": False, "properties": made["mappings"]["properties"]}
    kept = {name: made["settings"]["index"][name] for name in ("number_of_shards", "number_of_replicas")}
    _send(engine, "PUT", THEIRS, {"mappings": mappings, "settings": kept})


def _require_equal(engine: SearchEngine, database: Database) -> None:
    """:raises RuntimeError: one of the indexes is not what the table is: each change adds one to a row's stock."""
    with database.connect() as connection:
        wanted = connection.execute(f"SELECT count(*), sum(stock)::float FROM {data.TABLE}").fetchone()
    for index in (OURS, THEIRS):
        ask(engine, "POST", f"{index}/_refresh")
        query = {"size": 0, "track_total_hits": True, "aggs": {"stock": {"sum": {"field": "stock"}}}}
        found = _send(engine, "POST", f"{index}/_search", query)
        there = (found["hits"]["total"]["value"], found["aggregations"]["stock"]["value"])
        if there != wanted:
            raise RuntimeError(f"{index} has {there}, the table {wanted}: documents and the sum of their stock")


def _send(engine: SearchEngine, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{engine.url}/{path}", json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as reply:
        value: dict[str, Any] = json.load(reply)
    return value
