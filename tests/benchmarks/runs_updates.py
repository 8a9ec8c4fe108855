"""Ours, into Postgres: one batch into an index that is there, or that this run makes and fills."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.targets.postgres.definition import FullText
from tests.benchmarks.task import SOURCE, STAMP, run


def stream(form: str) -> Stream:
    """:param form: ``plain`` or ``full_text``."""
    full_text = FullText(("title", "description")) if form == "full_text" else None
    target = PostgresTarget("bench", index=f"public.{form}", indexes=("(category)",), full_text=full_text)
    return Stream(name=f"bench_{form}", source=SOURCE, target=target, max_failures=0)


@contextmanager
def open_index(stream: Stream) -> Iterator[Any]:
    with stream.target.open(stream.name) as session:
        yield session


def write(made: Stream, rows: int, start: str, end: str) -> None:
    """Answers as ``task.run`` does."""
    with SOURCE.open() as source, open_index(made) as session:
        generation = session.create_first(made.target.generation_name(STAMP), source.schema())
    run(made, rows, (start, end))
    with open_index(made) as session:
        session.promote(generation)


if __name__ == "__main__":
    write(stream(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
