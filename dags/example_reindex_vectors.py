"""Texts cut into passages and embedded, by a model that runs in the task itself, and searched by words and by vector."""

from __future__ import annotations

from airflow_reindex_provider import (
    Embed,
    FullText,
    PostgresSource,
    PostgresTarget,
    RebuildDag,
    ReindexDag,
    Stream,
    SweepDag,
    WordLlamaEmbedder,
)

articles = Stream(
    name="articles",
    source=PostgresSource("shop_db", table="public.articles", primary_key="id", cursor_field="updated_at"),
    # The database needs pgvector: CREATE EXTENSION vector.
    target=PostgresTarget("search_db", index="public.articles_index", full_text=FullText(("title", "body"))),
    embed=Embed(("title", "body"), model=WordLlamaEmbedder()),
)

ReindexDag(articles, schedule="*/5 * * * *")
RebuildDag(articles)
SweepDag(articles, schedule="@weekly")
