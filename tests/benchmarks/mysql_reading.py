"""The rows as the same client gives them, in one statement, and nothing done with them."""

from __future__ import annotations

import sys
from contextlib import closing

from airflow.providers.mysql.hooks.mysql import MySqlHook

from tests.benchmarks.meter import Meter, answer


def main(statement: str) -> None:
    with closing(MySqlHook("bench_maria").get_conn()) as connection, closing(connection.cursor()) as cursor:
        meter = Meter()
        cursor.execute(statement)
        rows = 0
        while batch := cursor.fetchmany(5_000):
            rows += len(batch)
        answer(rows=rows, **meter.read())


if __name__ == "__main__":
    main(*sys.argv[1:])
