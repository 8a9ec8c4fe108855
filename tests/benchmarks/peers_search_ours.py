"""Ours, beside PGSync: one batch into an OpenSearch index that is there, or that this run makes and fills."""

from __future__ import annotations

import sys

from airflow.providers.opensearch.hooks.opensearch import OpenSearchHook  # noqa: F401 - by the first connection otherwise

from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.targets.search import session as search_session  # noqa: F401 - by the target otherwise
from tests.benchmarks.peers_search import OURS
from tests.benchmarks.runs_updates import write
from tests.benchmarks.task import SOURCE

if __name__ == "__main__":
    made = Stream(
        name="bench_updates", source=SOURCE, target=OpenSearchTarget("bench_search", index=OURS), max_failures=0
    )
    write(made, int(sys.argv[1]), sys.argv[2], sys.argv[3])
