"""Progress of one batch: one counting source, never backwards, and never in the way of the work."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from airflow_reindex_provider.core.model import Batch, Counts, PassageCounts
from airflow_reindex_provider.core.protocols import ProgressReporter

log = logging.getLogger(__name__)

ETA_CHUNKS = 10


class Status(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


def utc_now() -> datetime:
    return datetime.now(UTC)


def as_shown(record: Mapping[str, Any], *, task_ended: bool) -> dict[str, Any]:
    """The record as it is to be shown, by what is known of its task: one that was killed had no time to say that it ends.

    :param task_ended: whether the try that wrote it runs no more; Airflow's own state of the task tells.
    """
    if not task_ended or record.get("status") not in (Status.PENDING, Status.RUNNING):
        return dict(record)
    return {
        **record,
        "status": str(Status.FAILED),
        "message": "The task ended without a word: it was killed.",
        "updated_at": utc_now().isoformat(timespec="milliseconds"),
    }


class Progress:
    """Counts acknowledged chunks and hands records to a reporter, at most one in ``interval_s`` but every end.

    Record: ``stream, mode, batch, status, total, processed, created, updated, deleted, noops, reused,
    version_conflicts, failures, docs_per_s, eta_ms, started_at, updated_at, message``. ``docs_per_s`` and ``eta_ms``
    come from the mean of the last ten chunks and are None before the first. Where texts are embedded, also ``passages,
    embedded, requests, tokens``, and ``eta_ms`` comes from the passages that are still to be embedded.

    :param total: rows planned; it follows ``processed`` should more turn up.
    :param clock: monotonic seconds. :param wall: the time of day, aware.
    """

    def __init__(
        self,
        batch: Batch,
        mode: str,
        reporter: ProgressReporter,
        *,
        interval_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = utc_now,
    ) -> None:
        self._batch = batch
        self._mode = mode
        self._reporter = reporter
        self._interval_s = interval_s
        self._clock = clock
        self._wall = wall
        self._started_at = wall()
        self._total = batch.rows
        self._counts = Counts()
        self._resumed = Counts()
        self._passages = PassageCounts()
        self._left = 0.0
        self._embedded: deque[tuple[int, float]] = deque(maxlen=ETA_CHUNKS + 1)
        self._last_chunk_at = clock()
        self._recent: deque[tuple[int, float]] = deque(maxlen=ETA_CHUNKS)
        self._reported_at: float | None = None
        self._is_stopping = False
        self._has_ended = False
        self._reports = threading.Lock()

    @property
    def counts(self) -> Counts:
        return self._counts

    @property
    def of_this_try(self) -> Counts:
        """Without what earlier tries had acknowledged."""
        return self._counts - self._resumed

    def start(
        self, resumed: Counts | None = None, first: str = "", *, passages: PassageCounts = PassageCounts()
    ) -> None:
        """Report that the batch runs, going on from what an earlier try had acknowledged.

        :param passages: what earlier tries had counted of them.
        :param first: what is done before the first row comes, where that may take long.
        """
        self._counts = self._resumed = resumed or Counts()
        self._passages = passages
        self._last_chunk_at = self._clock()
        resumes = f"goes on after {self._counts.processed:,} rows" if resumed else ""
        self._report(Status.RUNNING, "; ".join(filter(None, (resumes, first))))

    def add(self, chunk: Counts, *, before_report: Callable[[], None] = lambda: None) -> None:
        """Count one acknowledged chunk, and report where a report is due.

        :param before_report: what must have happened before the figures are shown.
        """
        now = self._clock()
        self._recent.append((chunk.processed, now - self._last_chunk_at))
        self._last_chunk_at = now
        self._counts = self._counts + chunk
        if self._reported_at is None or now - self._reported_at >= self._interval_s:
            before_report()
            self._report(*self._meanwhile)

    def embed(self, passages: PassageCounts, *, left: float, before_report: Callable[[], None] = lambda: None) -> None:
        """Count what is known of passages by now, before their documents are written, and report where a report is due.

        :param left: texts that are still to be embedded, those of rows that are not read yet by estimate."""
        now = self._clock()
        if passages == self._passages:
            return
        if passages.embedded != self._passages.embedded or not self._embedded:
            self._embedded.append((passages.embedded, now))
        self._passages, self._left = passages, left
        if self._reported_at is None or now - self._reported_at >= self._interval_s:
            before_report()
            self._report(*self._meanwhile)

    def stop(self) -> None:
        """Report that somebody has asked the task to stop: it may be killed before its chunk ends. For a thread of its own."""
        self._is_stopping = True
        with self._reports:
            if not self._has_ended:
                self._send(*self._meanwhile)

    def finish(self, status: Status, message: str = "") -> None:
        """The last record; a completed batch is complete whatever was planned, since rows may have moved on."""
        if status is Status.COMPLETED:
            self._total = self._counts.processed
        self._has_ended = True
        self._report(status, message)

    def record(self, status: Status, message: str) -> dict[str, Any]:
        processed = self._counts.processed
        total = max(self._total, processed)
        seconds = sum(s for _, s in self._recent)
        rate = sum(n for n, _ in self._recent) / seconds if seconds > 0 else None
        return {
            "stream": self._batch.stream,
            "mode": self._mode,
            "batch": self._batch.number,
            "status": str(status),
            "total": total,
            "processed": processed,
            **self._counts.to_json(),
            **self._passages.to_json(),
            "docs_per_s": None if rate is None else round(rate, 1),
            "eta_ms": self._eta_ms(total - processed, rate),
            "started_at": self._started_at.isoformat(timespec="milliseconds"),
            "updated_at": self._wall().isoformat(timespec="milliseconds"),
            "message": message,
        }

    def _eta_ms(self, rows: int, rate: float | None) -> int | None:
        if len(self._embedded) > 1 and rows:
            # What the model still has to do is what takes the time.
            (first, began), (last, ended) = self._embedded[0], self._embedded[-1]
            if ended > began and last > first:
                return round(self._left / ((last - first) / (ended - began)) * 1000)
        return round(rows / rate * 1000) if rate else None

    @property
    def _meanwhile(self) -> tuple[Status, str]:
        return (Status.CANCELLED, "asked to stop") if self._is_stopping else (Status.RUNNING, "")

    def _report(self, status: Status, message: str) -> None:
        with self._reports:
            self._send(status, message)

    def _send(self, status: Status, message: str) -> None:
        self._reported_at = self._clock()
        try:
            self._reporter.report(self.record(status, message))
        except Exception as error:
            log.warning("Progress of batch %d was not reported: %s", self._batch.number + 1, error)
