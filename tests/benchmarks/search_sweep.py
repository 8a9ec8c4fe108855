"""A sweep of a search engine's index that equals its table: all keys and versions of both sides are listed."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import urlsplit

from airflow.providers.opensearch.hooks.opensearch import OpenSearchHook  # noqa: F401 - by the first connection otherwise

from airflow_reindex_provider.core.model import Checkpoint, Position
from airflow_reindex_provider.targets.search import session as search_session  # noqa: F401 - by the target otherwise
from airflow_reindex_provider.testing.memory import MemoryCheckpoint
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper
from tests.benchmarks import data
from tests.benchmarks.counter import Counter
from tests.benchmarks.meter import Meter, answer
from tests.benchmarks.search_ours import stream
from tests.benchmarks.task import SOURCE


@contextmanager
def counted(url: str) -> Iterator[Counter]:
    """The connection ``bench_search_counted`` to this engine, for this process and its children."""
    address = urlsplit(url)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        os.environ["AIRFLOW_CONN_BENCH_SEARCH_COUNTED"] = f"opensearch://127.0.0.1:{port}"
        yield Counter(listener, lambda: socket.create_connection((address.hostname or "", address.port or 0)))


def main(rows: int) -> None:
    swept = stream("bench_search_counted")
    source = replace(SOURCE, conn_id="bench_counted")
    run = Runner(source=source, target=swept.target, stream=swept.name, store=MemoryCheckpoint())
    with swept.target.open(swept.name) as target:
        generation = target.generations()[0].name
        target.promote(generation)
    run.store.save(Checkpoint(swept.name, generation, Position(data.first(rows)[1])))
    meter = Meter()
    found, _ = Sweeper(run=run).sweep()
    used = meter.read()
    answer(differences=found.differences, **used)


if __name__ == "__main__":
    main(int(sys.argv[1]))
