"""What the table of a generation holds, for a sweep: one version of it, read in the order of keys, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from airflow_reindex_provider.core.keys import KeyRange, Listed
from airflow_reindex_provider.targets.key_texts import KeyTexts
from airflow_reindex_provider.targets.lance.keys import between, quoted
from airflow_reindex_provider.targets.lance.layout import DELETED, KEY, VERSION

if TYPE_CHECKING:
    from lancedb.table import Table

PAGE = 2_000
_READ_AT_ONCE = 20 * PAGE
"""Each read looks through all keys of the range, unless an index does it."""


def pages(table: Table, keys: KeyTexts, within: KeyRange) -> Iterator[list[Listed]]:
    """The range's documents and remembered deletions, as they are now."""
    from lancedb.query import ColumnOrdering

    # Whatever is written meanwhile: a listing is of one moment.
    table.checkout(table.version)
    conditions = between(keys, within, KEY)
    while True:
        query = table.search().select([KEY, VERSION, DELETED])
        if conditions:
            query = query.where(" AND ".join(conditions))
        found = query.order_by([ColumnOrdering(column_name=KEY)]).limit(_READ_AT_ONCE).to_arrow()
        for at in range(0, found.num_rows, PAGE):
            rows = found.slice(at, PAGE).to_pylist()
            yield [Listed(keys.key(row[KEY]), row[VERSION], row[DELETED]) for row in rows]
        if found.num_rows < _READ_AT_ONCE:
            return
        last = found[KEY][-1].as_py()
        conditions = [*between(keys, KeyRange(None, within.end), KEY), f"{KEY} > {quoted(last)}"]
