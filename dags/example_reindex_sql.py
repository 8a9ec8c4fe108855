"""A table in any database that Airflow has a hook for: kept true in Postgres, swept for rows deleted outright."""

from __future__ import annotations

from datetime import timedelta

from airflow_reindex_provider import PostgresTarget, ReindexDag, SqlSource, Stream, SweepDag

shipments = Stream(
    name="shipments",
    source=SqlSource(
        "shipments_db",
        table="shipments",
        primary_key="id",
        cursor_field="updated_at",
        cursor_timezone="UTC",
        # Longer than any transaction that writes the table: there is nobody to ask which are open.
        lag=timedelta(minutes=15),
    ),
    target=PostgresTarget("search_db", index="public.shipments_index"),
)

ReindexDag(shipments, schedule="*/15 * * * *")
SweepDag(shipments, schedule="@weekly")
