"""Ours, into Postgres, rows of uneven width: one batch into a new generation."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.postgres import PostgresTarget
from tests.benchmarks.skewed import ROWS, SOURCE, WINDOW
from tests.benchmarks.task import STAMP, run


def unchanged(document: Mapping[str, Any]) -> Mapping[str, Any]:
    return document


def stream(form: str) -> Stream:
    """:param form: ``copy``, or ``rows`` as a transform asks for."""
    target = PostgresTarget("bench", index=f"public.skewed_{form}")
    return Stream(name=f"bench_{form}", source=SOURCE, target=target, transform=unchanged if form == "rows" else None)


if __name__ == "__main__":
    made = stream(sys.argv[1])
    with SOURCE.open() as source, made.target.open(made.name) as target:
        target.create_first(made.target.generation_name(STAMP), source.schema())
    run(made, ROWS, WINDOW)
