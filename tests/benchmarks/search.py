"""From Postgres into OpenSearch: ours against the client's own bulk helpers, and against bodies that are ready in memory.

The engine has half of the machine's processors for itself, as on a machine of its own; Postgres and the contestant have
the others. Against the sink, which takes next to nothing, all have all of them.
"""

from __future__ import annotations

from collections.abc import Callable

from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.search_engine import SearchEngine
from tests.benchmarks import data, search_ours, search_skewed, search_sweep, skewed, sweep
from tests.benchmarks.contest import Answer, median, process, rate, say
from tests.benchmarks.engines import ask, on, opensearch, sink, the_others
from tests.benchmarks.figures import Figure

ROWS = 500_000
REPETITIONS = 3
DELAY_S = 0.05
REPLAYS = ((2, 4_000_000), (4, 1_000_000))
"""Connections and bytes of a body: which of them the engine likes best is tried first."""


def figures() -> list[Figure]:
    with opensearch("bench_search") as engine:
        with on(the_others()), data.server(ROWS) as database:
            found = _into_engine(engine, database)
        with data.server(ROWS) as database:
            return [*found, *_into_sink(engine, database)]


def _into_engine(engine: SearchEngine, database: Database) -> list[Figure]:
    say(f"Into OpenSearch {engine.version} ...")

    def replay(at_once: int, body_bytes: int) -> Answer:
        return _contest(
            engine,
            f"ready bodies, {at_once} at once of {body_bytes / 1e6:g} MB",
            lambda index: process("search_replay", engine.url, index, ROWS, at_once, body_bytes),
        )

    # The engine warms up meanwhile.
    best = min(REPLAYS, key=lambda how: replay(*how)["seconds"])
    ours: list[Answer] = []
    ready: list[Answer] = []
    for repetition in range(REPETITIONS):
        ready.append(replay(*best))
        last = repetition == REPETITIONS - 1
        ours.append(
            _contest(
                engine,
                "ours",
                lambda _: process("search_ours", "bench_search", ROWS),
                after=(lambda: _sweep(engine, database)) if last else lambda: None,
            )
        )
    helpers = _contest(
        engine, "helpers.bulk", lambda index: process("search_helpers", "bulk", engine.url, database.dsn, index, ROWS)
    )
    return [
        _skewed(engine, database),
        Figure.compared("os_cpu_vs_helpers_bulk", median(ours, "cpu_s"), helpers["cpu_s"], "s CPU", at_most=0.1),
        Figure.compared("os_rate_vs_ceiling", rate(ours), rate(ready), "docs/s", at_least=0.9),
        Figure.alone("os_peak_mb", max(answer["peak_mb"] for answer in ours), "MB", at_most=60.0),
    ]


def _skewed(engine: SearchEngine, database: Database) -> Figure:
    """Both formats: what a task holds does not follow from the rows that it has seen."""
    skewed.make(database)
    peaks: list[float] = []
    for form in ("bulk", "rows"):
        index = search_skewed.make_index()
        try:
            answer = process("search_skewed", form)
        finally:
            ask(engine, "DELETE", index)
        if answer["rows"] != skewed.ROWS:
            raise RuntimeError(f"{answer['rows']} documents were written, not {skewed.ROWS}")
        peaks.append(answer["peak_mb"])
        say(f"rows of uneven width, {form}: {answer['seconds']:.0f} s, {answer['peak_mb']:.0f} MB over imports")
    return Figure.alone("os_skewed_peak_mb", max(peaks), "MB", at_most=80.0)


def _into_sink(engine: SearchEngine, database: Database) -> list[Figure]:
    say("Into a sink ...")
    runs: dict[str, list[Answer]] = {
        name: [] for name in ("ours", "ours, 50 ms", "bulk", "streaming_bulk", "parallel_bulk")
    }
    with sink(engine, "bench_sink") as fast, sink(engine, "bench_slow_sink", delay_s=DELAY_S):

        def ours(name: str, conn_id: str) -> None:
            runs[name].append(_contest(engine, name, lambda _: process("search_ours", conn_id, ROWS), holds=0))

        def helper(name: str) -> None:
            runs[name].append(
                _contest(
                    engine,
                    f"helpers.{name}",
                    lambda index: process("search_helpers", name, fast, database.dsn, index, ROWS),
                    holds=0,
                )
            )

        for _ in range(REPETITIONS):
            ours("ours", "bench_sink")
            ours("ours, 50 ms", "bench_slow_sink")
            helper("bulk")
        helper("streaming_bulk")
        helper("parallel_bulk")
    return [
        Figure.compared("sink_rate_vs_helpers_bulk", rate(runs["ours"]), rate(runs["bulk"]), "docs/s", at_least=5.0),
        Figure.compared("sink_50ms_vs_0ms", rate(runs["ours, 50 ms"]), rate(runs["ours"]), "docs/s", at_least=0.6),
    ]


def _sweep(engine: SearchEngine, database: Database) -> None:
    """Printed only: what has no checksums is compared key by key, which is a matter of the engine's, not of ours."""
    with sweep.counted(database) as source, search_sweep.counted(engine.url) as target:
        used = process("search_sweep", ROWS)
        if used["differences"]:
            raise RuntimeError("the sweep finds differences where there are none")
        say(
            f"sweep of {ROWS:,} equal documents: {target.bytes / 1000:,.0f} kB from OpenSearch, {source.bytes / 1000:,.0f} kB"
            f" from Postgres, {used['seconds']:.1f} s, {used['cpu_s']:.1f} s CPU, {used['peak_mb']:.0f} MB"
        )


def _contest(
    engine: SearchEngine,
    name: str,
    run: Callable[[str], Answer],
    *,
    holds: int = ROWS,
    after: Callable[[], None] = lambda: None,
) -> Answer:
    """One run into a new, empty generation, whose write alias ``run`` gets.

    :param holds: how many documents the engine must have afterwards."""
    index = search_ours.make_index("bench_search")
    try:
        answer = run(f"{index}_write")
        ask(engine, "POST", f"{index}/_refresh")
        held = ask(engine, "GET", f"{index}/_count")["count"]
        if answer["rows"] != ROWS or held != holds:
            raise RuntimeError(f"{name} wrote {answer['rows']} documents, not {ROWS}; the engine holds {held}")
        after()
    finally:
        ask(engine, "DELETE", index)
    say(
        f"{name}: {ROWS / answer['seconds']:,.0f} docs/s, {answer['cpu_s']:.1f} s CPU, {answer['peak_mb']:.0f} MB over imports"
    )
    return answer
