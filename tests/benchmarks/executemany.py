"""What an author writes: read with a server-side cursor, upsert with ``executemany``."""

from __future__ import annotations

import sys

import psycopg

from tests.benchmarks import data
from tests.benchmarks.meter import Meter, answer

BATCH_ROWS = 5_000


def main(dsn: str, table: str) -> None:
    start, end = data.window(data.CHANGED)
    names = ", ".join(data.COLUMNS)
    updates = ", ".join(f"{name} = excluded.{name}" for name in data.COLUMNS if name != "id")
    upsert = (
        f"INSERT INTO {table} AS t ({names}) VALUES ({', '.join(['%s'] * len(data.COLUMNS))})"
        f" ON CONFLICT (id) DO UPDATE SET {updates} WHERE t.updated_at <= excluded.updated_at"
    )
    rows = 0
    meter = Meter()
    with psycopg.connect(dsn) as reader, psycopg.connect(dsn) as writer:
        cursor = reader.cursor(name="changed")
        cursor.itersize = BATCH_ROWS
        # JSON is read as text and goes back as it came: no Python objects in between.
        columns = names.replace("attributes", "attributes::text")
        cursor.execute(f"SELECT {columns} FROM {data.TABLE} WHERE updated_at >= %s AND updated_at < %s", [start, end])
        while batch := cursor.fetchmany(BATCH_ROWS):
            writer.cursor().executemany(upsert, batch)
            writer.commit()
            rows += len(batch)
    answer(rows=rows, **meter.read())


if __name__ == "__main__":
    main(*sys.argv[1:])
