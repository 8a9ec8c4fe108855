"""The demo's first Dag: documentation kept true in a full text index."""

from __future__ import annotations

from datetime import timedelta

from airflow_reindex_provider import FullText, PostgresSource, PostgresTarget, ReindexDag, Stream

api_docs = Stream(
    name="api_docs",
    source=PostgresSource(
        "docs_db",
        table="public.api_docs",
        primary_key="id",
        cursor_field="updated_at",
        soft_delete_column="deleted_at",
        columns=("package", "version", "kind", "qualified_name", "signature", "docstring", "updated_at"),
    ),
    target=PostgresTarget(
        "search_db",
        index="public.api_docs_index",
        full_text=FullText(("signature", "docstring")),
        chunk_rows=10,  # tiny, so that there is progress to be seen
    ),
    batch_size=4_000,
)

ReindexDag(
    api_docs,
    schedule="@daily",
    max_active_batches=4,
    task_args={"retries": 1, "retry_delay": timedelta(seconds=1)},
)
