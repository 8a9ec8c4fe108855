"""A rebuild beside the incremental runs, by hand: a new index is verified and swapped in, and the old one kept."""

from __future__ import annotations

from airflow_reindex_provider import PostgresSource, PostgresTarget, RebuildDag, ReindexDag, Stream

brands = Stream(
    name="brands",
    source=PostgresSource("shop_db", table="public.brands", primary_key="id", cursor_field="updated_at"),
    target=PostgresTarget("search_db", index="public.brands_index"),
)

ReindexDag(brands, schedule="*/5 * * * *")
RebuildDag(brands)
