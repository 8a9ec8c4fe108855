"""An index for each tenant: groups appear by themselves, and rows that change tenant change their index."""

from __future__ import annotations

from airflow_reindex_provider import PostgresSource, PostgresTarget, RebuildDag, ReindexDag, Stream, SweepDag

invoices = Stream(
    name="invoices",
    source=PostgresSource(
        "shop_db",
        table="public.invoices",
        primary_key="id",
        cursor_field="updated_at",
        group_by="tenant",
    ),
    target=PostgresTarget("search_db", index="public.invoices_{group}"),
)

ReindexDag(invoices, schedule="*/5 * * * *")
RebuildDag(invoices)
SweepDag(invoices, schedule="@weekly")
