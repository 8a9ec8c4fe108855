"""The smallest whole stream: a table kept true in an index, every five minutes."""

from __future__ import annotations

from airflow_reindex_provider import FullText, PostgresSource, PostgresTarget, ReindexDag, Stream

products = Stream(
    name="products",
    source=PostgresSource(
        "shop_db",
        table="public.products",
        primary_key="id",
        cursor_field="updated_at",
        soft_delete_column="deleted_at",
    ),
    target=PostgresTarget("search_db", index="public.products_index", full_text=FullText(("title", "description"))),
)

ReindexDag(products, schedule="*/5 * * * *")
