"""A table in LanceDB: files in a folder or a bucket, which a notebook or a model's own process reads without a server."""

from __future__ import annotations

from airflow_reindex_provider import LanceTarget, PostgresSource, RebuildDag, ReindexDag, Stream, SweepDag

manuals = Stream(
    name="manuals",
    source=PostgresSource(
        "shop_db",
        table="public.manuals",
        primary_key="id",
        cursor_field="updated_at",
        soft_delete_column="deleted_at",
    ),
    # The host of the connection is the folder, on a disk that all workers share, or s3://bucket/prefix.
    target=LanceTarget("lake", index="manuals", columns={"price": "numeric(10,2)"}, indexes={"body": "FTS"}),
)

ReindexDag(manuals, schedule="*/5 * * * *")
RebuildDag(manuals)
SweepDag(manuals, schedule="@weekly")
