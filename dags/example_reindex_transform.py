"""A transform makes the documents, a filter says which rows belong in the index, and a second Dag follows each run."""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task

from airflow_reindex_provider import PostgresSource, PostgresTarget, ReindexDag, Stream


def to_document(row: dict[str, Any]) -> dict[str, Any] | None:
    """One document of one customer; a customer without a name has none."""
    if not row["name"]:
        return None
    return {
        "id": row["id"],
        "name": row["name"].strip().title(),
        "email_domain": row["email"].rpartition("@")[2].lower(),
        "updated_at": row["updated_at"],
    }


customers = Stream(
    name="customers",
    source=PostgresSource(
        "shop_db",
        table="public.customers",
        primary_key="id",
        cursor_field="updated_at",
        columns=("name", "email", "updated_at"),
        row_filter="consent",
    ),
    target=PostgresTarget(
        "search_db",
        index="public.customers_index",
        columns={"email_domain": "text"},
        indexes=("(email_domain)",),
    ),
    transform=to_document,
)

ReindexDag(customers, schedule="@hourly")


@dag(schedule=[customers.asset], catchup=False, tags=["reindex"])
def example_reindex_follow_up() -> None:
    """Runs after every run of the stream, and sees its counts."""

    @task(inlets=[customers.asset])
    def report(*, inlet_events: Any) -> dict[str, Any]:
        counts: dict[str, Any] = inlet_events[customers.asset][-1].extra
        return {name: counts[name] for name in ("created", "updated", "deleted", "parked")}

    report()


example_reindex_follow_up()
