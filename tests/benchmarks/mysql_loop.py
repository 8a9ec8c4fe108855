"""What an author writes: read with a server-side cursor, upsert with ``executemany``."""

from __future__ import annotations

import sys

import psycopg
import pymysql

from airflow_reindex_provider.testing.mariadb import PASSWORD
from tests.benchmarks.meter import Meter, answer
from tests.benchmarks.mysql_ours import STAMP, TARGET

BATCH_ROWS = 5_000
COLUMNS = ("id", "title", "note", "weight", "pieces", "sent_at", "attributes", "updated_at")


def main(port: str, dsn: str, statement: str) -> None:
    updates = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name != "id")
    upsert = (
        f"INSERT INTO {TARGET.generation_name(STAMP)} AS t ({', '.join(COLUMNS)}) VALUES ({', '.join(['%s'] * len(COLUMNS))})"
        f" ON CONFLICT (id) DO UPDATE SET {updates} WHERE t.updated_at <= excluded.updated_at"
    )
    reader = pymysql.connect(
        host="127.0.0.1",
        port=int(port),
        user="root",
        password=PASSWORD,
        database="bench",
        cursorclass=pymysql.cursors.SSCursor,
    )
    rows = 0
    meter = Meter()
    with reader, reader.cursor() as cursor, psycopg.connect(dsn) as writer:
        cursor.execute(statement)
        while batch := cursor.fetchmany(BATCH_ROWS):
            writer.cursor().executemany(upsert, batch)
            writer.commit()
            rows += len(batch)
    answer(rows=rows, **meter.read())


if __name__ == "__main__":
    main(*sys.argv[1:])
