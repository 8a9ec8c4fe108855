"""Waits for changes outside a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Position
from airflow_reindex_provider.core.protocols import Source
from airflow_reindex_provider.core.windows import incremental_window


class ChangesTrigger(BaseTrigger):
    """Fires once a row lies between a position and the horizon, or once a person has to mend something.

    The event is ``{"status": "changes" or "error", "message": ...}``. A source that does not answer is
    asked again at the next interval.

    :param source_class: dotted path. :param source: what its ``deserialize`` takes.
    :param start: a :class:`Position` as JSON, None where nothing is reached yet.
    :param initial_value: where to start then. :param where: how messages name the checkpoint.
    """

    def __init__(
        self,
        *,
        source_class: str,
        source: dict[str, Any],
        start: dict[str, Any] | None,
        initial_value: str | None,
        where: str,
        poll_interval_s: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow leaves it untyped
        self.source_class = source_class
        self.source = source
        self.start = start
        self.initial_value = initial_value
        self.where = where
        self.poll_interval_s = poll_interval_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "source_class": self.source_class,
                "source": self.source,
                "start": self.start,
                "initial_value": self.initial_value,
                "where": self.where,
                "poll_interval_s": self.poll_interval_s,
            },
        )

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
        module, _, name = self.source_class.rpartition(".")
        source: Source = getattr(import_module(module), name).deserialize(self.source)
        start = Position.from_json(self.start) if self.start else None
        with source.open() as session:
            window = incremental_window(session.survey(), start, initial_value=self.initial_value, where=self.where)
            return window is not None and session.has_changes(window)


def _event(status: str, message: str = "") -> TriggerEvent:
    return TriggerEvent({"status": status, "message": message})  # type: ignore[no-untyped-call]  # as above
