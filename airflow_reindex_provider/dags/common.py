"""What the Dags of a stream share."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum

from airflow_reindex_provider.operators.base import DEFAULT_RETRIES

FIRST_DAY = pendulum.datetime(2000, 1, 1, tz="UTC")
"""Start of a Dag that names none: any range of the last decades can be backfilled, and nothing is caught up."""


def common_arguments(task_args: dict[str, Any] | None) -> dict[str, Any]:
    """Of every operator, the author's over ours."""
    return {"retries": DEFAULT_RETRIES, "retry_delay": timedelta(seconds=30), **(task_args or {})}
