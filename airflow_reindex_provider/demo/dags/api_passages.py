"""The demo's second Dag: the longer ones of the same docstrings, cut into passages and embedded by a model in the task itself."""

from __future__ import annotations

from datetime import timedelta

from airflow_reindex_provider import (
    Embed,
    FullText,
    PostgresSource,
    PostgresTarget,
    ReindexDag,
    SplitByContent,
    Stream,
    WordLlamaEmbedder,
)

api_passages = Stream(
    name="api_passages",
    source=PostgresSource(
        "docs_db",
        table="public.api_docs",
        primary_key="id",
        cursor_field="updated_at",
        soft_delete_column="deleted_at",
        row_filter="length(docstring) > 1500",
        columns=("package", "version", "qualified_name", "docstring"),
    ),
    target=PostgresTarget("search_db", index="public.api_guide", full_text=FullText(("docstring",))),
    embed=Embed(("docstring",), model=WordLlamaEmbedder(), splitter=SplitByContent(max_tokens=150)),
)

ReindexDag(api_passages, schedule=None, task_args={"retries": 1, "retry_delay": timedelta(seconds=1)})
