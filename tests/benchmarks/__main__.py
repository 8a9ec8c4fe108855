"""Runs every contestant and says how the figures stand; 1 if a limit is missed.

``BENCH=pg,search`` chooses groups of figures, ``BENCH_JSON=path`` gets them as JSON too.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks import data
from tests.benchmarks.contest import say
from tests.benchmarks.figures import HEADER, Figure

GROUPS = (
    "pg",
    "mysql",
    "children",
    "vectors",
    "sweep",
    "search",
    "cli",
    "page",
    "file",
    "freshness",
    "splitting",
    "observed",
    "runs",
    "airflow",
    "peers",
)


def main() -> int:
    started = time.monotonic()
    chosen = os.environ.get("BENCH") or ",".join(GROUPS)
    if unknown := set(chosen.split(",")) - set(GROUPS):
        sys.exit(
            f"BENCH={chosen}: no group of figures is called {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}."
        )
    with tempfile.TemporaryDirectory() as home:
        # Before anything imports Airflow, which writes a configuration file into its home.
        os.environ.update(
            AIRFLOW_HOME=home, AIRFLOW__CORE__LOAD_EXAMPLES="False", AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR"
        )
        logging.disable(logging.INFO)
        figures = _measure(chosen.split(","))
    print(HEADER)
    for figure in figures:
        print(figure)
    say(f"{time.monotonic() - started:.0f} s")
    if path := os.environ.get("BENCH_JSON"):
        Path(path).write_text(json.dumps([figure.to_json() for figure in figures], indent=2) + "\n")
    return 0 if all(figure.kept for figure in figures) else 1


def _measure(groups: Sequence[str]) -> list[Figure]:
    from tests.benchmarks import (
        airflow_runs,
        children,
        cli,
        freshness,
        mysql,
        observed,
        page,
        peers,
        pg,
        runs,
        search,
        splitting,
        streams_file,
        sweep,
        vectors,
        vectors_search,
    )

    figures: list[Figure] = []
    if "pg" in groups:
        with data.server(data.ROWS) as database:
            figures += pg.figures(database)
    if "mysql" in groups:
        with data.server(0) as database:
            figures += mysql.figures(database)
    if "children" in groups:
        with data.server(0) as database:
            figures += children.figures(database)
    if "vectors" in groups:
        with data.server(0) as database:
            figures += vectors.figures(database)
        with data.server(0) as database:
            figures += vectors_search.figures(database)
    if "sweep" in groups:
        with data.server(0) as database:
            figures += sweep.figures(database)
    if "search" in groups:
        figures += search.figures()
    if "cli" in groups:
        figures += cli.figures()
    if "page" in groups:
        figures += page.figures()
    if "file" in groups:
        figures += streams_file.figures()
    if "freshness" in groups:
        figures += freshness.figures()
    if "splitting" in groups:
        figures += splitting.figures()
    if "observed" in groups:
        with data.server(observed.ROWS) as database:
            figures += observed.figures(database)
    if "runs" in groups:
        with data.server(runs.ROWS, runs.SETTINGS) as database:
            figures += runs.figures(database)
    if "airflow" in groups:
        figures += airflow_runs.figures()
    if "peers" in groups:
        figures += peers.figures()
    return figures


if __name__ == "__main__":
    sys.exit(main())
