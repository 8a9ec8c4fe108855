"""Metrics of a stream's tasks, through Airflow's own; ``core.metrics`` has their names. Failing to measure never fails work."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.observability import stats

from airflow_reindex_provider.core.metrics import (
    BACK_OFF,
    BATCH_DURATION,
    BYTES,
    DIFFERENCES,
    DOCUMENTS,
    FAILURES,
    FRESHNESS,
    GENERATIONS,
    HELD,
    LIVE,
    PARKED,
    PUSH_BACKS,
    RETRIES,
    RUN_DURATION,
    RUNS,
    SENT,
    Kind,
    Metric,
)
from airflow_reindex_provider.core.model import BatchResult, Counts, Plan
from airflow_reindex_provider.core.observing import Side, Traffic
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.core.sweeping.records import Difference
from airflow_reindex_provider.operators import tracing
from airflow_reindex_provider.operators.notes import KEEP_JOBS

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_reindex_provider.stream import Stream

log = logging.getLogger(__name__)

_MEASURED_KEY = "reindex_measured"


class Measured:
    """What is measured of one stream in one kind of run.

    :param mode: ``incremental``, ``backfill``, ``rebuild`` or ``sweep``."""

    def __init__(self, stream: Stream, mode: str) -> None:
        self._stream = stream
        kind = type(stream.target).__name__.removesuffix("Target").lower()
        self._tags = {"stream": stream.name, "mode": mode, "target": kind}

    def run(self, context: Context, report: Mapping[str, Any], batches: Iterable[BatchResult] = ()) -> None:
        """A run is closed, or a group's part of a rebuild, with the sums of its report; a closing task that is tried again does
        not count it twice. :param batches: those of it that are complete. They do not count themselves: one whose worker dies
        after its last chunk is done twice, and is one batch."""
        try:
            first = _first_time(context)
        except Exception as error:
            log.debug("Whether the run was measured before is not known: %s", error)
            return
        if not first:
            return
        self._emit(RUNS, 1, status=str(report.get("status", "completed")))
        for outcome in Counts().to_json():
            if number := report.get(outcome):
                self._emit(DOCUMENTS, int(number), outcome=outcome)
        for batch in batches:
            self._emit(BATCH_DURATION, batch.elapsed_s * 1000)
        for difference in Difference:
            if difference in report:
                self._emit(DIFFERENCES, int(report[difference]), difference=str(difference))
        run: Any = context["dag_run"]
        tracing.run(self._stream.name, self._tags["mode"], report, run.start_date)
        if run.start_date is not None:
            self._emit(RUN_DURATION, (utc_now() - run.start_date).total_seconds() * 1000)

    def traffic(self, side: Side, grown: Traffic) -> None:
        if side is Side.TARGET and grown.bytes:
            self._emit(SENT, grown.bytes)
        if grown.push_backs:
            self._emit(PUSH_BACKS, grown.push_backs, by=side)
            self._emit(BACK_OFF, grown.paused_s * 1000, by=side)

    def standing(self, record: Mapping[str, Any]) -> None:
        """As a run is closed. :param record: see ``control.standing``."""
        if fresh_until := record["fresh_until"]:
            self._emit(FRESHNESS, max((utc_now() - datetime.fromisoformat(fresh_until)).total_seconds(), 0.0))
        self._emit(PARKED, record["parked"]["count"])
        generations = record["generations"]
        if not generations:
            return
        self._emit(GENERATIONS, len(generations))
        self._emit(BYTES, sum(generation["bytes"] or 0 for generation in generations))
        if record["documents"] is not None:
            self._emit(LIVE, record["documents"])

    def plan(self, plan: Plan) -> None:
        """As a run is planned."""
        if plan.horizon is None:
            return
        horizon = plan.cursor_type.moment(plan.horizon, getattr(self._stream.source, "cursor_timezone", None))
        if horizon is not None:
            self._emit(HELD, max((datetime.fromisoformat(plan.planned_at) - horizon).total_seconds(), 0.0))

    def failed(self, *, again: bool) -> None:
        self._emit(RETRIES if again else FAILURES, 1)

    def _emit(self, metric: Metric, value: float, **tags: str) -> None:
        try:
            all_tags = {**self._tags, **tags}
            if metric.kind is Kind.COUNTER:
                stats.incr(metric.name, int(value), tags=all_tags)
            elif metric.kind is Kind.TIMER:
                stats.timing(metric.name, value, tags=all_tags)
            else:
                stats.gauge(metric.name, value, tags=all_tags)
        except Exception as error:
            log.debug("%s was not measured: %s", metric.name, error)


def _first_time(context: Context) -> bool:
    kept = context["task_state_store"]
    if kept.get(_MEASURED_KEY):
        return False
    kept.set(_MEASURED_KEY, True, retention=KEEP_JOBS)
    return True
