"""Ours, a batch of texts into the search engine's index of :func:`make_index`: ``vectors_search_ours conn_id table rows``."""

from __future__ import annotations

import sys

from airflow.providers.opensearch.hooks.opensearch import OpenSearchHook  # noqa: F401 - by the first connection otherwise

from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from tests.benchmarks import vectors_data
from tests.benchmarks.task import STAMP, run

DIMENSIONS = 384


def stream(conn_id: str, table: str) -> Stream:
    return vectors_data.stream(table, vectors_data.Stub(DIMENSIONS), target=OpenSearchTarget(conn_id, index=table))


def make_index(conn_id: str, table: str) -> str:
    """An empty generation as a first load finds it; returns its name."""
    made = stream(conn_id, table)
    with made.source.open() as source, made.target.open(made.name) as target:
        return target.create_first(made.target.generation_name(STAMP), source.schema())


if __name__ == "__main__":
    conn_id, table, rows = sys.argv[1:]
    run(stream(conn_id, table), int(rows), vectors_data.WINDOW)
