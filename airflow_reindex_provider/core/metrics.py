"""What is measured of streams, by name: one table for the code, the docs, dashboards and alerts."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    TIMER = "timer"


class Metric(NamedTuple):
    """:ivar tags: besides those of every metric. A timer is in milliseconds."""

    name: str
    kind: Kind
    says: str
    tags: tuple[str, ...] = ()


COMMON_TAGS = ("stream", "mode", "target")
"""The stream's name (that of a group's stream is its stream's), what the run does, and the kind of target. Never a key."""

DOCUMENTS = Metric(
    "reindex.documents", Kind.COUNTER, "documents that a run has written, by what became of them", ("outcome",)
)
RUNS = Metric("reindex.runs", Kind.COUNTER, "runs that have been closed, by how they ended", ("status",))
RUN_DURATION = Metric("reindex.run.duration", Kind.TIMER, "from the start of a run to its closing task")
BATCH_DURATION = Metric("reindex.batch.duration", Kind.TIMER, "of a batch that is complete, over all its tries")
RETRIES = Metric("reindex.retries", Kind.COUNTER, "tasks that have failed and are tried again")
FAILURES = Metric("reindex.failures", Kind.COUNTER, "tasks that have failed for good")
SENT = Metric(
    "reindex.sent",
    Kind.COUNTER,
    "bytes that the target has taken, as they travel; those that had to be sent again included",
)
PUSH_BACKS = Metric(
    "reindex.push_backs",
    Kind.COUNTER,
    "times that it had no room (429, 503) or gave no answer, and was left alone",
    ("by",),
)
BACK_OFF = Metric("reindex.back_off", Kind.TIMER, "of the pauses that this made, chunk by chunk", ("by",))
FRESHNESS = Metric(
    "reindex.freshness", Kind.GAUGE, "seconds: how old the oldest unread change may be, as a run is closed"
)
HELD = Metric(
    "reindex.horizon.held", Kind.GAUGE, "seconds that the horizon lay behind the source's clock as a run was planned"
)
PARKED = Metric("reindex.parked", Kind.GAUGE, "documents that wait for another try")
LIVE = Metric("reindex.documents.live", Kind.GAUGE, "documents of the live generation")
GENERATIONS = Metric("reindex.generations", Kind.GAUGE, "generations at the target, the live one included")
BYTES = Metric("reindex.bytes", Kind.GAUGE, "bytes of all generations on the target's disk")
DIFFERENCES = Metric(
    "reindex.sweep.differences", Kind.GAUGE, "documents that differ, as a sweep found", ("difference",)
)

METRICS = (
    DOCUMENTS,
    RUNS,
    RUN_DURATION,
    BATCH_DURATION,
    RETRIES,
    FAILURES,
    SENT,
    PUSH_BACKS,
    BACK_OFF,
    FRESHNESS,
    HELD,
    PARKED,
    LIVE,
    GENERATIONS,
    BYTES,
    DIFFERENCES,
)
