"""Texts into OpenSearch: ours against the same bodies, which are ready in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.search_engine import SearchEngine
from tests.benchmarks import vectors_data, vectors_search_ours
from tests.benchmarks.contest import Answer, process, rate, say
from tests.benchmarks.engines import ask, on, opensearch, sink, the_others
from tests.benchmarks.figures import Figure

TABLE = "found"
ROWS = 4_000
"""Articles; ten times as many passages."""
REPETITIONS = 3
AT_ONCE = 2


def figures(database: Database) -> list[Figure]:
    vectors_data.make(database, TABLE, ROWS)
    ours: list[Answer] = []
    ready: list[Answer] = []
    with opensearch("bench_search") as engine, tempfile.TemporaryDirectory() as folder, on(the_others()):
        with sink(engine, "bench_sink", keep=Path(folder)):
            _into_new(engine, lambda _: process("vectors_search_ours", "bench_sink", TABLE, ROWS), holds=0)
        for _ in range(REPETITIONS):
            ready.append(
                _into_new(
                    engine,
                    lambda index: process("vectors_replay", engine.url, index, folder, ROWS, AT_ONCE),
                    holds=ROWS,
                )
            )
            ours.append(
                _into_new(engine, lambda _: process("vectors_search_ours", "bench_search", TABLE, ROWS), holds=ROWS)
            )
    texts = vectors_data.PASSAGES
    found, most = rate(ours) * texts, rate(ready) * texts
    say(f"into OpenSearch {engine.version}: {found:,.0f} texts/s, the same bodies ready {most:,.0f}")
    return [Figure.compared("vectors_os_vs_replay", found, most, "texts/s", at_least=0.85)]


def _into_new(engine: SearchEngine, run: Callable[[str], Answer], *, holds: int) -> Answer:
    """One run into a new, empty generation, whose write alias ``run`` gets. :param holds: its documents afterwards."""
    index = vectors_search_ours.make_index("bench_search", TABLE)
    try:
        answer = run(f"{index}_write")
        ask(engine, "POST", f"{index}/_refresh")
        held = ask(engine, "GET", f"{index}/_count")["count"]
        if answer["rows"] != ROWS or held != holds:
            raise RuntimeError(f"{answer['rows']} documents were written, not {ROWS}; the engine holds {held}")
    finally:
        ask(engine, "DELETE", index)
    return answer
