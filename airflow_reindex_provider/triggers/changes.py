"""Waits for changes outside a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import TriggerEvent

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Position
from airflow_reindex_provider.core.protocols import Source
from airflow_reindex_provider.core.windows import incremental_window
from airflow_reindex_provider.triggers.base import SourceTrigger


class ChangesTrigger(SourceTrigger):
    """Fires once a row lies between a position and the horizon, or once a person has to mend something.

    The event is ``{"status": "changes" or "error", "message": ...}``. A source that does not answer is
    asked again at the next interval.

    :param start: a :class:`Position` as JSON, None where nothing is reached yet.
    :param initial_value: where to start then. :param where: how messages name the checkpoint.
    """

    def __init__(
        self,
        *,
        start: dict[str, Any] | None,
        initial_value: str | None,
        where: str,
        **of_source: Any,
    ) -> None:
        super().__init__(**of_source)
        self.start = start
        self.initial_value = initial_value
        self.where = where

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "start": self.start, "initial_value": self.initial_value, "where": self.where}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        while True:
            try:
                if await asyncio.to_thread(self._look):
                    yield _event("changes")
                    return
            except ConfigurationError as error:
                yield _event("error", str(error))
                return
            except Exception as error:
                self.log.warning("Looked in vain, again in %g s: %s", self.poll_interval_s, error)
            await asyncio.sleep(self.poll_interval_s)

    def _look(self) -> bool:
        source: Source = self.made_source()
        start = Position.from_json(self.start) if self.start else None
        with source.open() as session:
            window = incremental_window(session.survey(), start, initial_value=self.initial_value, where=self.where)
            return window is not None and session.has_changes(window)


def _event(status: str, message: str = "") -> TriggerEvent:
    return TriggerEvent({"status": status, "message": message})  # type: ignore[no-untyped-call]  # Airflow leaves it untyped
