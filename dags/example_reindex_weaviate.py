"""A collection of Weaviate behind an alias, searched by words; by nearness too, where there are vectors."""

from __future__ import annotations

from airflow_reindex_provider import PostgresSource, RebuildDag, ReindexDag, Stream, SweepDag, WeaviateTarget

guides = Stream(
    name="guides",
    source=PostgresSource(
        "shop_db",
        table="public.guides",
        primary_key="id",
        cursor_field="updated_at",
        soft_delete_column="deleted_at",
    ),
    # A connection of the type weaviate. Names of collections begin with a capital.
    target=WeaviateTarget("weaviate", index="Guides", columns={"price": "text"}),
)

ReindexDag(guides, schedule="*/5 * * * *")
RebuildDag(guides)
SweepDag(guides, schedule="@weekly")
