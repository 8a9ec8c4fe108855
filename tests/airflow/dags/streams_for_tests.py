"""What the Dags of the tests share: a table `name` with (id, title, updated_at) is kept true in an index `name_index`."""

from __future__ import annotations

import contextlib
import os
import time
from datetime import timedelta
from pathlib import Path

from airflow_reindex_provider import PostgresSource, PostgresTarget, Stream

QUICK = {"retry_delay": timedelta(seconds=1)}
"""Task arguments: the default number of tries, without the wait between them."""


def stream(name, *, conn_id="shop_db", table=None, target=None, chunk_rows=10_000, **options):
    """No margin below the horizon: the tests write in statements that are over when a run begins."""
    return Stream(
        name=name,
        source=PostgresSource(
            conn_id,
            table=table or f"public.{name}",
            primary_key="id",
            cursor_field="updated_at",
            margin=timedelta(0),
        ),
        target=PostgresTarget("search_db", index=f"public.{name}_index", chunk_rows=chunk_rows, **(target or {})),
        **options,
    )


def braked(name):
    """A transform that changes nothing, prints every key, and waits at rows titled `slow` and `held`.

    A `slow` row takes as many seconds as the file `name` in the folder of brakes says, and a `held` one as long as
    there is such a file; what it waits for first leaves a file `name.held`.
    """
    brake = Path(os.environ["REINDEX_TEST_BRAKES"]) / name

    def transform(row):
        print(f"row {row['id']}.")
        if row["title"] == "slow":
            with contextlib.suppress(FileNotFoundError):
                time.sleep(float(brake.read_text()))
        if row["title"] == "held" and brake.exists():
            brake.with_suffix(".held").touch()
            while brake.exists():
                time.sleep(0.05)
        return row

    return transform


def picky(row):
    """Some titles make no document: one fails in here, one is refused by the index."""
    if row["title"] == "bad":
        raise ValueError("a bad title")
    return row | {"length": "not a number" if row["title"] == "wordy" else len(row["title"])}
