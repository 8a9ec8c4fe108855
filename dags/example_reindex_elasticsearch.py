"""A table in Elasticsearch, each document made by a transform; deletions are remembered for six hours."""

from __future__ import annotations

from typing import Any

from airflow_reindex_provider import ElasticsearchTarget, PostgresSource, RebuildDag, ReindexDag, Stream, SweepDag


def document(row: dict[str, Any]) -> dict[str, Any] | None:
    """Tickets without a subject are not to be found; the words of both columns are."""
    if not row["subject"]:
        return None
    return {**row, "words": f"{row['subject']} {row['message'] or ''}"}


tickets = Stream(
    name="tickets",
    source=PostgresSource("shop_db", table="public.tickets", primary_key="id", cursor_field="updated_at"),
    target=ElasticsearchTarget(
        "elasticsearch",
        index="tickets",
        mappings={"properties": {"words": {"type": "text"}}},
        settings={"index": {"gc_deletes": "6h"}},
    ),
    transform=document,
)

ReindexDag(tickets, schedule="*/5 * * * *")
SweepDag(tickets, schedule="@weekly")
RebuildDag(tickets)
