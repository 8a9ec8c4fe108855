"""Every part of a stream in memory: source, target, checkpoint store, resume log and progress reporter.

They keep all promises of their protocols, so rules, transforms and custom parts can be tested without a database.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from threading import Lock
from typing import Any

from airflow_reindex_provider.core.errors import CheckpointConflictError, CheckpointInvalidError
from airflow_reindex_provider.core.model import Checkpoint
from airflow_reindex_provider.testing.memory_source import MemorySource, MemorySourceSession, Row, Transaction
from airflow_reindex_provider.testing.memory_target import MemoryTarget, MemoryTargetSession, MemoryWriter

__all__ = [
    "MemoryCheckpoint",
    "MemoryReporter",
    "MemoryResumeLog",
    "MemorySource",
    "MemorySourceSession",
    "MemoryTarget",
    "MemoryTargetSession",
    "MemoryWriter",
    "Row",
    "Transaction",
]


class MemoryCheckpoint:
    """A checkpoint store with compare-and-set; conforms to ``ListingStore``.

    :ivar texts: what is stored, JSON as in the other stores, by (stream, generation); to be looked at or spoilt.
    """

    def __init__(self) -> None:
        self.texts: dict[tuple[str, str], str] = {}
        self._saving = Lock()

    def load(self, stream: str, generation: str) -> Checkpoint:
        text = self.texts.get((stream, generation))
        if text is None:
            return Checkpoint(stream, generation)
        try:
            return Checkpoint.from_json(json.loads(text))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointInvalidError(
                f"The checkpoint of stream {stream!r} cannot be read ({error!r}). {self.where(stream, generation)}"
            ) from error

    def save(self, checkpoint: Checkpoint) -> Checkpoint:
        place = checkpoint.stream, checkpoint.generation
        with self._saving:
            stored = self.load(*place)
            if stored.version != checkpoint.version:
                raise CheckpointConflictError(
                    f"The checkpoint of stream {checkpoint.stream!r} is at version {stored.version}, not"
                    f" {checkpoint.version}: another run saved it meanwhile. Load it again."
                )
            saved = replace(checkpoint, version=checkpoint.version + 1)
            self.texts[place] = json.dumps(saved.to_json())
        return saved

    def reset(self, stream: str, generation: str) -> None:
        self.texts.pop((stream, generation), None)

    def kept(self) -> Iterator[Checkpoint]:
        yield from [self.load(*place) for place in sorted(self.texts)]

    def where(self, stream: str, generation: str) -> str:
        return f"It is kept in memory; reset it with reset({stream!r}, {generation!r})."


class MemoryResumeLog:
    """Outlives a try as long as the object does; conforms to ``ResumeLog``."""

    def __init__(self) -> None:
        self._text: str | None = None

    def load(self) -> dict[str, Any] | None:
        return json.loads(self._text) if self._text else None

    def save(self, value: dict[str, Any]) -> None:
        self._text = json.dumps(value)

    def clear(self) -> None:
        self._text = None


class MemoryReporter:
    """Collects progress records in the order in which they came; conforms to ``ProgressReporter``."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def report(self, record: dict[str, Any]) -> None:
        self.records.append(record)
