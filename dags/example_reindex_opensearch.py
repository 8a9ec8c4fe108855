"""A table in OpenSearch, with a mapping of one's own, kept true every five minutes, swept once a week, rebuilt by hand."""

from __future__ import annotations

from airflow_reindex_provider import OpenSearchTarget, PostgresSource, RebuildDag, ReindexDag, Stream, SweepDag

recipes = Stream(
    name="recipes",
    source=PostgresSource(
        "shop_db",
        table="public.recipes",
        primary_key="id",
        cursor_field="updated_at",
        soft_delete_column="deleted_at",
    ),
    target=OpenSearchTarget(
        "opensearch",
        index="recipes",
        mappings={"properties": {"title": {"type": "text", "analyzer": "standard"}, "tags": {"type": "keyword"}}},
    ),
)

ReindexDag(recipes, schedule="*/5 * * * *")
SweepDag(recipes, schedule="@weekly")
RebuildDag(recipes)
