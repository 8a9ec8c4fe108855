"""Ours, a batch of texts into pgvector: ``vectors_ours table rows dimensions seconds texts concurrency [fresh]``."""

from __future__ import annotations

import sys

from tests.benchmarks.task import STAMP, run
from tests.benchmarks.vectors_data import WINDOW, Stub, stream


def main(table: str, rows: int, dimensions: int, seconds: float, texts: int, concurrency: int, fresh: bool) -> None:
    made = stream(table, Stub(dimensions, seconds, texts, fresh), concurrency=concurrency)
    with made.source.open() as source, made.target.open(made.name) as target:
        target.create_first(made.target.generation_name(STAMP), source.schema())
    run(made, rows, WINDOW)


if __name__ == "__main__":
    table, rows, dimensions, seconds, texts, concurrency, *fresh = sys.argv[1:]
    main(table, int(rows), int(dimensions), float(seconds), int(texts), int(concurrency), bool(fresh))
