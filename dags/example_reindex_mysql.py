"""A table of MariaDB, kept true in Postgres: the server says up to where it can be read."""

from __future__ import annotations

from airflow_reindex_provider import MySqlSource, PostgresTarget, ReindexDag, Stream, SweepDag

parcels = Stream(
    name="parcels",
    source=MySqlSource(
        "parcels_db",
        table="parcels",
        primary_key="id",
        # TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)
        cursor_field="updated_at",
        soft_delete_column="deleted_at",
    ),
    target=PostgresTarget("search_db", index="public.parcels_index"),
)

ReindexDag(parcels, schedule="*/5 * * * *")
SweepDag(parcels, schedule="@weekly")
