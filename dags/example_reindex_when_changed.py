"""Runs that start when there is something to do: a watcher in the triggerer sees changes, and once an hour a run looks anyway."""

from __future__ import annotations

from datetime import timedelta

from airflow_reindex_provider import PostgresSource, PostgresTarget, ReindexDag, Stream, changes_of

stores = Stream(
    name="stores",
    source=PostgresSource("shop_db", table="public.stores", primary_key="id", cursor_field="updated_at"),
    target=PostgresTarget("search_db", index="public.stores_index"),
)

ReindexDag(stores, schedule=changes_of(stores, at_most_every=timedelta(seconds=30)))
