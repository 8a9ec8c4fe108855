"""A clean-up of one stream at a target, at a moment in which all that a killed task has left is old."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_reindex_provider.core.cleaning.of_stream import StreamCleaning
from airflow_reindex_provider.core.cleaning.records import Orphan, Rules
from airflow_reindex_provider.core.protocols import Target
from airflow_reindex_provider.core.remembered import Route
from airflow_reindex_provider.testing.memory import MemoryCheckpoint
from airflow_reindex_provider.testing.target_conformance import text_schema

LIVE, OLD = "20260101t000000", "20260102t000000"
NOW = datetime(2026, 2, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Place:
    target: Target
    stream: str

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """A session of the stream, which has a live generation."""
        with self.target.open(self.stream) as session:
            name = session.create_first(self.target.generation_name(LIVE), text_schema())
            session.promote(name)
            yield session

    def cleaning(self, session: Any) -> StreamCleaning:
        return StreamCleaning(
            stream=self.stream,
            route=Route("a source", self.target.label),
            target=session,
            store=MemoryCheckpoint(),
            rules=Rules(),
            now=NOW,
        )

    def cleaned(self, session: Any) -> list[Orphan]:
        found = list(self.cleaning(session).find())
        assert list(self.cleaning(session).drop(found, keep=lambda: None, troubles={})) == found
        return found
