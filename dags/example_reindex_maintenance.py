"""A weekly clean-up over all streams: what rebuilds have left, checkpoints of what is gone, old recorded deletions."""

from __future__ import annotations

from airflow_reindex_provider import MaintenanceDag, PostgresSource, PostgresTarget, RebuildDag, ReindexDag, Stream

makers = Stream(
    name="makers",
    source=PostgresSource("shop_db", table="public.makers", primary_key="id", cursor_field="updated_at"),
    target=PostgresTarget("search_db", index="public.makers_index"),
)

ReindexDag(makers, schedule="*/5 * * * *")
RebuildDag(makers, retain=1)
MaintenanceDag([makers], schedule="@weekly", retain=1)
