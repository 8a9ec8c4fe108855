"""Streams and Dags for the tests of doors."""

from __future__ import annotations

from typing import Any

from airflow_reindex_provider import PostgresSource, PostgresTarget, RebuildDag, ReindexDag, Stream, SweepDag


def stream(name: str = "items", **options: Any) -> Stream:
    return Stream(
        name=name,
        source=PostgresSource("shop_db", table=f"public.{name}", primary_key="id", cursor_field="updated_at"),
        target=PostgresTarget("search_db", index=f"public.{name}_index"),
        **options,
    )


def dags(of: Stream, schedule: str | None = "@hourly") -> tuple[Any, ...]:
    """``reindex_<name>``, ``rebuild_<name>`` and ``sweep_<name>``."""
    return ReindexDag(of, schedule=schedule), RebuildDag(of), SweepDag(of)
