"""Ours, into a search engine, rows of uneven width: one batch into the generation that :func:`make_index` has made."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from airflow.providers.opensearch.hooks.opensearch import OpenSearchHook  # noqa: F401 - by the first connection otherwise

from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.targets.search import session as search_session  # noqa: F401 - by the target otherwise
from tests.benchmarks.skewed import ROWS, SOURCE, WINDOW
from tests.benchmarks.task import STAMP, run

MAPPINGS = {"properties": {"note": {"type": "text", "index": False}}}


def unchanged(document: Mapping[str, Any]) -> Mapping[str, Any]:
    return document


def stream(form: str) -> Stream:
    """:param form: ``bulk`` or ``rows``, as a transform asks for."""
    target = OpenSearchTarget("bench_search", index="skewed", mappings=MAPPINGS)
    return Stream(name="bench", source=SOURCE, target=target, transform=unchanged if form == "rows" else None)


def make_index() -> str:
    """An empty generation as a first load finds it, not yet live; returns its name."""
    made = stream("bulk")
    with SOURCE.open() as source, made.target.open(made.name) as target:
        return target.create_first(made.target.generation_name(STAMP), source.schema())


if __name__ == "__main__":
    run(stream(sys.argv[1]), ROWS, WINDOW)
