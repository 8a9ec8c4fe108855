"""What the collection of a generation holds, for a sweep, in the order of keys, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from airflow_reindex_provider.core.keys import KeyRange, Listed
from airflow_reindex_provider.targets.weaviate.layout import DELETED, KEY, VERSION, Layout
from airflow_reindex_provider.targets.weaviate.rows import Rows, version_of

if TYPE_CHECKING:
    from airflow_reindex_provider.targets.weaviate.server import Server

PAGE = 2_000
"""Each read sorts all keys of the range that are left."""


def pages(server: Server, generation: str, layout: Layout, within: KeyRange) -> Iterator[list[Listed]]:
    """The range's documents and remembered deletions."""
    from weaviate.classes.query import Filter, Sort

    rows, key = Rows(layout), Filter.by_property(KEY)
    start = key.greater_or_equal(rows.hex(within.start) if within.start is not None else "")
    while True:
        condition = start if within.end is None else start & key.less_than(rows.hex(within.end))
        with server.explained():
            found = server.collection(generation).query.fetch_objects(
                filters=condition,
                sort=Sort.by_property(KEY),
                limit=PAGE,
                return_properties=[KEY, VERSION, DELETED],
            )
        listed = [o.properties for o in found.objects]
        if listed:
            yield [Listed(rows.key(str(p[KEY])), version_of(str(p[VERSION])), bool(p[DELETED])) for p in listed]
        if len(listed) < PAGE:
            return
        start = key.greater_than(str(listed[-1][KEY]))
