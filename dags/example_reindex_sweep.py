"""A weekly sweep beside the incremental runs: rows that were deleted outright leave the index too."""

from __future__ import annotations

from airflow_reindex_provider import PostgresSource, PostgresTarget, ReindexDag, Stream, SweepDag

reviews = Stream(
    name="reviews",
    source=PostgresSource("shop_db", table="public.reviews", primary_key="id", cursor_field="updated_at"),
    target=PostgresTarget("search_db", index="public.reviews_index"),
)

ReindexDag(reviews, schedule="*/5 * * * *")
SweepDag(reviews, schedule="@weekly")
