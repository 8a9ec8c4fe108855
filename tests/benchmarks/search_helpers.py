"""What an author writes: rows as dicts from a server-side cursor, through one of opensearch-py's bulk helpers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import psycopg
from opensearchpy import OpenSearch, helpers
from psycopg.rows import dict_row

from tests.benchmarks import data
from tests.benchmarks.meter import Meter, answer

FETCH_ROWS = 5_000


def actions(connection: psycopg.Connection[Any], index: str, rows: int) -> Iterator[dict[str, Any]]:
    with connection.cursor(name="changed", row_factory=dict_row) as cursor:
        cursor.itersize = FETCH_ROWS
        names = ", ".join(data.COLUMNS)
        condition = "updated_at >= %s AND updated_at < %s"
        cursor.execute(f"SELECT {names} FROM {data.TABLE} WHERE {condition}", data.first(rows))
        for row in cursor:
            yield {"_index": index, "_id": row["id"], "_source": row}


def main(helper: str, url: str, dsn: str, index: str, rows: int, chunk: int = 500) -> None:
    client = OpenSearch(url)
    meter = Meter()
    with psycopg.connect(dsn) as connection:
        made = actions(connection, index, rows)
        if helper == "bulk":
            written, _ = helpers.bulk(client, made, chunk_size=chunk)
        else:
            results = getattr(helpers, helper)(client, made, chunk_size=chunk)
            written = sum(1 for ok, _ in results if ok)
    answer(rows=written, **meter.read())


if __name__ == "__main__":
    main(*sys.argv[1:5], *map(int, sys.argv[5:]))
