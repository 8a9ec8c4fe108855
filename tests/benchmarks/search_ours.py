"""Ours, into a search engine: one batch into the generation that :func:`make_index` has made."""

from __future__ import annotations

import sys

from airflow.providers.opensearch.hooks.opensearch import OpenSearchHook  # noqa: F401 - by the first connection otherwise

from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.targets.search import session as search_session  # noqa: F401 - by the target otherwise
from tests.benchmarks import data
from tests.benchmarks.task import SOURCE, STAMP, run


def stream(conn_id: str) -> Stream:
    return Stream(name="bench", source=SOURCE, target=OpenSearchTarget(conn_id, index="bench"), max_failures=0)


def make_index(conn_id: str) -> str:
    """An empty generation as a first load finds it, not yet live, without refresh and replicas; returns its name."""
    made = stream(conn_id)
    with SOURCE.open() as source, made.target.open(made.name) as target:
        return target.create_first(made.target.generation_name(STAMP), source.schema())


if __name__ == "__main__":
    rows = int(sys.argv[2])
    run(stream(sys.argv[1]), rows, data.first(rows))
