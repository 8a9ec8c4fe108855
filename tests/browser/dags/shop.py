"""The streams of a shop: what the page shows in the tests and in the pictures of the docs."""

import os
import time
from datetime import timedelta
from pathlib import Path

from airflow_reindex_provider import PostgresSource, PostgresTarget, RebuildDag, ReindexDag, Stream, SweepDag

QUICK = {"retry_delay": timedelta(seconds=1), "retries": 0}


def stream(name, *, columns=None, **options):
    return Stream(
        name=name,
        source=PostgresSource(
            "shop_db",
            table=f"public.{name}",
            primary_key="id",
            cursor_field="updated_at",
            margin=timedelta(0),
        ),
        target=PostgresTarget("search_db", index=f"search.{name}", columns=columns or {}, chunk_rows=50),
        **options,
    )


def unhurried(row):
    """Takes as many seconds a row as the file says, where there is one: so that somebody can watch."""
    pace = Path(os.environ["REINDEX_TEST_PACE"])
    if pace.exists():
        time.sleep(float(pace.read_text() or 0))
    return row


def rated(row):
    if not 1 <= row["stars"] <= 5:
        raise ValueError(f"a review has 1 to 5 stars, not {row['stars']}")
    return row


products = stream("products", columns={"price": "numeric(10, 2)"}, batch_size=1000, transform=unhurried)
reviews = stream("reviews", batch_size=500, transform=rated, max_failures=2)
articles = stream("articles", batch_size=1000)

ReindexDag(products, task_args=QUICK)
RebuildDag(products, task_args=QUICK)
SweepDag(products, task_args=QUICK)
ReindexDag(reviews, task_args=QUICK)
ReindexDag(articles, task_args=QUICK)
SweepDag(articles, task_args=QUICK)
