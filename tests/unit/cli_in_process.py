"""Streams and runs, made by hand, for `airflow reindex ...` in this process: the fixture ``cli``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow_reindex_provider import PostgresSource, PostgresTarget, RebuildDag, ReindexDag, Stream, SweepDag

AT = datetime(2026, 11, 21, 17, 25, tzinfo=UTC)


def items(name: str = "items", **options: Any) -> Stream:
    return Stream(
        name=name,
        source=PostgresSource("shop_db", table=f"public.{name}", primary_key="id", cursor_field="updated_at"),
        target=PostgresTarget("search_db", index=f"public.{name}_index"),
        **options,
    )


def parse(metadata, stream: Stream) -> None:
    metadata.parse(ReindexDag(stream, schedule="@hourly"), RebuildDag(stream), SweepDag(stream))


STANDING = {
    "stream": "items",
    "at": "2026-11-21T17:26:00.000+00:00",
    "fresh_until": "2026-11-21T17:25:00+00:00",
    "documents": 1234,
    "generations": [
        {
            "name": "items_index_20261120t000000",
            "live": False,
            "served": True,
            "made_at": "2026-11-20T00:00:00+00:00",
            "documents": 1200,
            "documents_estimated": True,
            "bytes": 1_500_000,
        },
        {
            "name": "items_index_20261121t000000",
            "live": True,
            "served": True,
            "made_at": "2026-11-21T00:00:00+00:00",
            "documents": 1234,
            "documents_estimated": False,
            "bytes": 999,
        },
    ],
    "checkpoint": {
        "generation": "items_index_20261121t000000",
        "cursor": "2026-11-21 17:25:00+00",
        "key": ["7", "a/b"],
        "saved_at": "2026-11-21T17:25:30+00:00",
        "saved_by": "run x",
        "where": "the Airflow Variable 'reindex.items.items_index_20261121t000000' (Admin > Variables)",
    },
    "parked": {
        "count": 2,
        "documents": [
            {
                "key": ["7", "a/b"],
                "reason": "no [bold] number :smile:",
                "attempts": 3,
                "parked_at": "2026-11-21T17:00:00+00:00",
                "next_try_at": "2026-11-21T18:00:00+00:00",
            }
        ],
    },
    "lease": None,
}


def a_run(metadata, state: str = "success", **columns: Any) -> str:
    xcoms = {
        ("extract", -1, "reindex_plan"): {
            "stream": "items",
            "rows": 5,
            "horizon": "h",
            "held_by": "pid 7",
            "warnings": [],
        },
        ("checkpoint", -1, "reindex_standing"): STANDING,
        ("checkpoint", -1, "reindex_run"): {"stream": "items", "total": 5, "processed": 5, "created": 5},
    }
    return metadata.run("reindex_items", state, began=AT, xcoms=xcoms, **columns)
