"""Ours, from MariaDB into nothing: the batch is read as its target would have it, and left."""

from __future__ import annotations

import sys

from airflow_reindex_provider.core.model import Batch, Format, Position, Window
from tests.benchmarks.meter import Meter, answer
from tests.benchmarks.mysql_ours import SOURCE, STREAM, window

_FIELDS = ("id", "title", "note", "weight", "pieces", "sent_at", "attributes", "updated_at")


def main(wanted: int) -> None:
    start, end = window(wanted)
    batch = Batch(STREAM.name, "none", 0, 1, Window(Position(start), Position(end)), wanted)
    with SOURCE.open() as source:
        source.schema()
        meter = Meter()
        rows = 0
        for chunk in source.read(batch, format=Format.PG_TEXT, fields=_FIELDS, chunk_rows=10_000):
            # A line break within a value is escaped.
            rows += sum(bytes(piece).count(b"\n") for piece in chunk.payload)
        answer(rows=rows, **meter.read())


if __name__ == "__main__":
    main(int(sys.argv[1]))
