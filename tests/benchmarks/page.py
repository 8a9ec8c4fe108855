"""How long the page waits for its data, with Airflow's metadata in a Postgres: streams of 100 runs each, one of them under way.
And what the plugin adds to the start of a task.

Requests go through Airflow's own app in this process, so the network is left out.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from airflow_reindex_provider.testing.postgres import EmbeddedPostgres
from tests.benchmarks.contest import process, say
from tests.benchmarks.figures import Figure
from tests.benchmarks.meter import answer

SIZES = (5, 50, 500)
RUNS = 100
REPETITIONS = 7
_STARTS = 5
_START = """
import sys, time
import airflow.sdk.plugins_manager as manager
began = time.perf_counter()
if sys.argv[1] == "with":
    import airflow_reindex_provider.plugin.entry
print(time.perf_counter() - began)
"""
"""A task process has imported Airflow's plugin manager when it comes to our entry."""


def figures() -> list[Figure]:
    with EmbeddedPostgres(durable=False) as server:
        server.create_database("airflow")
        os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = server.sqlalchemy_url("airflow")
        os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"] = server.sqlalchemy_url("airflow", driver="asyncpg")
        migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
        subprocess.run(migrate, stdin=subprocess.DEVNULL, capture_output=True, check=True)
        taken = process("page")
    for name, seconds in taken.items():
        say(f"{name}: {seconds * 1000:.0f} ms")
    return [
        Figure.alone("page_list_5_ms", taken["list_5"] * 1000, "ms", at_most=300),
        Figure.alone("page_list_50_ms", taken["list_50"] * 1000, "ms", at_most=800),
        Figure.alone("page_list_500_ms", taken["list_500"] * 1000, "ms", at_most=3000),
        Figure.alone("page_stream_ms", taken["stream_500"] * 1000, "ms", at_most=500),
        Figure.alone("plugin_import_ms", _import_ms(), "ms", at_most=20),
    ]


def _import_ms() -> float:
    def seconds(how: str) -> float:
        command = [sys.executable, "-c", _START, how]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])

    return 1000 * statistics.median(seconds("with") for _ in range(_STARTS))


def _measure() -> None:
    from tests.many_streams import TEMPLATE, fill
    from tests.metadata import Metadata
    from tests.unit.rest_client import API, serving
    from tests.unit.streams_of_rest import dags, stream

    metadata = Metadata()
    metadata.parse(dags(stream(TEMPLATE))[0])
    found: dict[str, float] = {}
    made = 0
    with serving() as server:
        client = server.client("anna")
        for size in SIZES:
            fill(metadata, range(made, size), runs=RUNS)
            made = size
            found[f"list_{size}"] = _seconds(lambda: client.get(f"{API}/streams").raise_for_status())
            found[f"stream_{size}"] = _seconds(lambda: client.get(f"{API}/streams/stream_0001").raise_for_status())
    answer(**found)


def _seconds(ask: Callable[[], object]) -> float:
    """Median; the first, in which Dags are read that were never seen before, is left out."""
    ask()
    taken = []
    for _ in range(REPETITIONS):
        began = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


if __name__ == "__main__":
    _measure()
