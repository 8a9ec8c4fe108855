"""How a stream and a run of it are: one record each, the same in the page, the REST API and the command line."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class StreamState(StrEnum):
    """What a stream is doing, or what somebody should know of it first; the first that holds, in this order."""

    APPROVAL = "waiting for approval"
    REBUILDING = "rebuilding"
    SWEEPING = "sweeping"
    REINDEXING = "reindexing"
    FAILING = "failing"
    BEHIND = "behind"
    PAUSED = "paused"
    IDLE = "idle"


class RunState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    APPROVAL = "waiting for approval"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """A task instance that works on a part of a run: a batch, a range of keys, a step that indexes.

    :ivar status: ``pending``, ``running``, ``waiting``, ``retrying``, ``completed``, ``failed``, ``cancelled`` or ``skipped``.
    :ivar counts: of documents, by outcome. :ivar message: for people; of a failed one, why."""

    task_id: str
    map_index: int
    label: str
    status: str
    try_number: int
    total: int | None = None
    processed: int = 0
    docs_per_s: float | None = None
    eta_ms: int | None = None
    message: str = ""
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run of a Dag, for one stream.

    :ivar mode: ``reindex``, ``backfill``, ``rebuild``, ``rollback``, ``sweep``, or the name of an action. :ivar progress: 0 to 1;
        None before there is a plan. :ivar total_count: documents planned; rows compared, in a sweep. :ivar eta_ms: until all of
        them are through. :ivar reason: why it failed. :ivar approval: the task that a person is to answer. :ivar result: what its
        closing task published. :ivar freshness_s: how old the oldest change was at its end that it had not read."""

    dag_id: str
    run_id: str
    mode: str
    state: RunState
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    by: str | None
    dry_run: bool = False
    progress: float | None = None
    indexed_count: int = 0
    total_count: int | None = None
    docs_per_s: float | None = None
    eta_ms: int | None = None
    message: str = ""
    reason: str | None = None
    approval: str | None = None
    freshness_s: float | None = None
    result: dict[str, Any] | None = None
    batches: tuple[TaskStatus, ...] = ()

    @property
    def is_over(self) -> bool:
        return self.state in (RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old the oldest change is that a search cannot find yet.

    :ivar at_most_s: an upper bound, from what the last run has reached; None where the cursor says nothing of time.
    :ivar fresh_until: every change before this is in the index, parked documents apart. :ivar looked: the last exact look:
        ``at``, ``waiting`` (changes), ``oldest_s`` (0 where none waits), ``oldest_at``, ``ahead`` (rows stamped ahead of the
        clock), ``horizon``, ``held_by``; see :func:`airflow_reindex_provider.control.looking.look`."""

    at_most_s: float | None
    fresh_until: datetime | None
    looked: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class DagOfStream:
    dag_id: str
    roles: tuple[str, ...]
    paused: bool
    schedule: str | None
    next_run_at: datetime | None
    has_import_errors: bool


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One stream. What is None is not known: nothing has been published of it yet.

    :ivar run: the one under way; of several the one that waits for a person, else the last to have begun.
    :ivar standing_at: when ``checkpoint``, ``generations``, ``documents`` and ``parked`` were taken. :ivar generations: of a
        stream with groups those of each, with its ``group``. :ivar recent: the last runs, newest first. :ivar groups: of a stream
        with groups, by value, what its last run said of each."""

    name: str
    source: str
    target: str
    guarantee: str
    store: str
    has_groups: bool
    state: StreamState
    reindexing: bool
    message: str
    progress: float | None
    eta_ms: int | None
    indexed_count: int
    total_count: int | None
    docs_per_s: float | None
    freshness: Freshness
    horizon: str | None
    held_by: str | None
    warnings: tuple[str, ...]
    documents: int | None
    parked: dict[str, Any] | None
    checkpoint: dict[str, Any] | None
    generations: tuple[dict[str, Any], ...]
    groups: dict[str, Any] | None
    lease: dict[str, Any] | None
    standing_at: datetime | None
    run: RunStatus | None
    last_success: RunStatus | None
    last_failure: RunStatus | None
    last_sweep: RunStatus | None
    recent: tuple[RunStatus, ...]
    dags: tuple[DagOfStream, ...]


def to_json(record: Any) -> Any:
    """A record as JSON: times in ISO 8601, UTC."""
    return _plain(asdict(record))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    return str(value) if isinstance(value, StrEnum) else value
