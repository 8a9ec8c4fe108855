"""Lets time pass without a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_reindex_provider.core.progress import utc_now


class PauseTrigger(BaseTrigger):
    """Fires at a moment, or at once where that has passed: the triggerer may have been away.

    :param until: ISO 8601, aware. :param reason: what for; whoever looks at Airflow's triggers reads it.
    """

    def __init__(self, *, until: str, reason: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow leaves it untyped
        self.until = until
        self.reason = reason

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", {"until": self.until, "reason": self.reason}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        await asyncio.sleep(max(0.0, (datetime.fromisoformat(self.until) - utc_now()).total_seconds()))
        yield TriggerEvent({"until": self.until})  # type: ignore[no-untyped-call]  # as above
