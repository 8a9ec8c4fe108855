"""A stream that is open for work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from airflow_reindex_provider.core.protocols import CheckpointStore, PlanningSource, TargetSession

SourceT = TypeVar("SourceT", bound=PlanningSource, covariant=True)


@dataclass(frozen=True, slots=True)
class Opened(Generic[SourceT]):
    """What the steps of a run, a rebuild and a sweep work on. :ivar stream: its name."""

    stream: str
    source: SourceT
    target: TargetSession
    store: CheckpointStore
