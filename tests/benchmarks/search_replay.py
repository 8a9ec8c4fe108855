"""The ceiling: bodies that are ready in memory, sent one after another on as many connections as the engine likes best."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import urllib3

from airflow_reindex_provider.core.model import Batch, Format, Position, Window
from tests.benchmarks import data
from tests.benchmarks.meter import Meter, answer
from tests.benchmarks.task import SOURCE


def bodies(rows: int, body_bytes: int) -> Iterator[bytes]:
    start, end = data.first(rows)
    batch = Batch("bench", "bench", 0, 1, Window(Position(start), Position(end)), rows)
    held: list[bytes] = []
    size = 0
    with SOURCE.open() as source:
        fields = [field.name for field in source.schema().fields]
        for chunk in source.read(batch, format=Format.BULK, fields=fields, chunk_rows=10_000):
            for piece in cast("Iterator[bytes]", chunk.payload):
                held.append(piece)
                size += len(piece)
                if size >= body_bytes:
                    yield b"".join(held)
                    held, size = [], 0
    if held:
        yield b"".join(held)


def replay(url: str, index: str, ready: Sequence[bytes], rows: int, at_once: int) -> None:
    """Answers with what this process used."""
    pool = urllib3.PoolManager(maxsize=at_once)
    path = f"{url}/{index}/_bulk?filter_path=errors"
    headers = {"content-type": "application/x-ndjson"}

    def send(body: bytes) -> None:
        reply = pool.request("POST", path, body=body, headers=headers)
        if reply.data != b'{"errors":false}':
            raise RuntimeError(f"the engine answers {reply.data[:300]!r}")

    meter = Meter()
    with ThreadPoolExecutor(at_once) as threads:
        for _ in threads.map(send, ready):
            pass
    answer(rows=rows, **meter.read())


def main(url: str, index: str, rows: int, at_once: int, body_bytes: int) -> None:
    replay(url, index, list(bodies(rows, body_bytes)), rows, at_once)


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
