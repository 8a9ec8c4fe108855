"""Watches the source of a stream in the triggerer, and tells when there is something to index."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Position
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.core.watching import WatchableSource, safe_changes
from airflow_reindex_provider.triggers.base import SourceTrigger
from airflow_reindex_provider.triggers.sharing import shared_connection

TOLD_KEY = "reindex_told"
"""In the state of the watched asset: the horizon below which all has been told."""
_LONGEST_PAUSE_S = 30.0
_MENDING_PAUSE_S = 60.0


class StreamChangesTrigger(SourceTrigger, BaseEventTrigger):
    """An event once a change of the stream is safe to read, and again once another one is; never more often than every
    ``min_interval_s``. The payload is ``{"stream": ..., "below": the horizon, "at": ...}``.

    Each poll is one query, over a connection that all streams of the database share. A connection that is lost is opened again,
    with growing pauses of up to half a minute; what a person has to mend is asked about once a minute. What was told is kept in
    the asset's state, so another triggerer goes on from there; where it dies right after an event, that is told once more.

    :param stream: its name.
    """

    def __init__(self, *, stream: str, min_interval_s: float, **of_source: Any) -> None:
        super().__init__(**of_source)
        self.stream = stream
        self.min_interval_s = min_interval_s

    def arguments(self) -> dict[str, Any]:
        return {"stream": self.stream, **super().arguments(), "min_interval_s": self.min_interval_s}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        source: WatchableSource = self.made_source()
        told = await self._load()
        # The watchers of a hundred streams are started at the same moment.
        await asyncio.sleep(random.uniform(0, self.poll_interval_s))
        failures = 0
        async with shared_connection(source) as shared:
            while True:
                try:
                    found = await shared.ask(source, partial(safe_changes, since=told))
                    failures = 0
                except ConfigurationError as error:
                    self.log.error("Stream %r is not watched, since somebody has to act: %s", self.stream, error)
                    await asyncio.sleep(max(_MENDING_PAUSE_S, self.poll_interval_s))
                    continue
                except Exception as error:
                    failures += 1
                    pause_s = min(self.poll_interval_s * 2**failures, max(_LONGEST_PAUSE_S, self.poll_interval_s))
                    self.log.warning("Stream %r: looked in vain, again in %g s: %s", self.stream, pause_s, error)
                    await asyncio.sleep(pause_s)
                    continue
                if found is None:
                    await asyncio.sleep(self.poll_interval_s)
                    continue
                told, began = found, time.monotonic()
                yield self._event(found)
                await asyncio.sleep(max(0.0, self.min_interval_s - (time.monotonic() - began)))
                # Not before: what a triggerer that dies has not handed over yet is told again by the next one.
                await self._save(found)

    def _event(self, below: Position) -> TriggerEvent:
        payload = {"stream": self.stream, "below": below.cursor, "at": utc_now().isoformat(timespec="milliseconds")}
        return TriggerEvent(payload)  # type: ignore[no-untyped-call]  # Airflow leaves it untyped

    async def _load(self) -> Position | None:
        try:
            kept: Any = await self.asset_state_store.aget(TOLD_KEY) if self.asset_state_store else None
            return Position(str(kept["below"])) if kept else None
        except Exception as error:
            self.log.warning(
                "Stream %r: what was told is not known, so all of it is told again: %s", self.stream, error
            )
            return None

    async def _save(self, told: Position) -> None:
        try:
            if self.asset_state_store:
                await self.asset_state_store.aset(TOLD_KEY, {"below": told.cursor})
        except Exception as error:
            self.log.warning("Stream %r: what was told could not be kept: %s", self.stream, error)
