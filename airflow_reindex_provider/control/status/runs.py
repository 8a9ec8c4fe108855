"""A run's record, from what Airflow knows of it and what its tasks have published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from airflow_reindex_provider.control.carried import REBUILD, SWEEP
from airflow_reindex_provider.control.status.facts import Published, RunFacts, TaskFacts
from airflow_reindex_provider.control.status.records import RunState, RunStatus, TaskStatus
from airflow_reindex_provider.core.model import Counts
from airflow_reindex_provider.core.progress import as_shown
from airflow_reindex_provider.core.published import (
    ACTION_KEY,
    FAILURE_KEY,
    OUTCOME_KEY,
    PLAN_KEY,
    PROGRESS_KEY,
    STANDING_KEY,
    SWEEP_KEY,
)
from airflow_reindex_provider.core.sweeping.records import Difference

CANCELLED_NOTE = "Cancelled"
"""How the note begins of a run that was cancelled by one of our doors."""
ROLLBACK = "rollback"
"""The mode of a run of a rebuild's Dag that serves a generation of before again."""
_COUNTS = (*Counts().to_json(), "reused")
_STATUS = {
    "success": "completed",
    "failed": "failed",
    "upstream_failed": "failed",
    "skipped": "skipped",
    "removed": "skipped",
    "running": "running",
    "restarting": "running",
    "up_for_retry": "retrying",
    "deferred": "waiting",
}
"""Of Airflow's states of a task; the others are pending."""
_ENDED = ("failed", "upstream_failed", "success", "skipped", "removed", "up_for_retry")


def belongs(stream: str, others: Sequence[str], found: Any) -> bool:
    """Whether a record is about the stream, or one of its groups, and not about another one in the same Dag.

    :param others: names of the streams that share the Dag."""
    name = found.get("stream") if isinstance(found, Mapping) else None
    if not isinstance(name, str):
        return len(others) < 2
    mine = [other for other in others if name == other or name.startswith(f"{other}.")]
    return max(mine, key=len, default=None) == stream


def run_status(run: RunFacts, *, stream: str, others: Sequence[str], role: str) -> RunStatus:
    """:param others: names of all streams of the Dag. :param role: what the Dag does for the stream."""
    plan = newest(run, PLAN_KEY, stream, others)
    outcome = newest(run, SWEEP_KEY if role == SWEEP else OUTCOME_KEY, stream, others)
    action = newest(run, ACTION_KEY, stream, others)
    batches = _batches(run, stream, others)
    state = _state(run, batches)
    total, indexed, progress = _figures(plan, outcome, batches, state)
    rates = [b.docs_per_s for b in batches if b.status == "running" and b.docs_per_s]
    rate = round(sum(rates), 1) if rates else None
    left = None if total is None else max(total - indexed, 0)
    return RunStatus(
        dag_id=run.dag_id,
        run_id=run.run_id,
        mode=_mode(run, plan, role),
        state=state,
        queued_at=run.queued_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
        by=run.by,
        dry_run=bool((outcome or plan or {}).get("dry_run")) or run.conf.get("dry_run") is True,
        progress=progress,
        indexed_count=indexed,
        total_count=total,
        docs_per_s=rate,
        eta_ms=round(left / rate * 1000) if rate and left is not None and state is RunState.RUNNING else None,
        message=_message(run, plan, outcome, batches, state),
        reason=_reason(run, batches, stream, others) if state in (RunState.FAILED, RunState.CANCELLED) else None,
        approval=next((task.task_id for task in run.tasks if task.approval), None),
        freshness_s=_freshness_s(run, stream, others),
        result=action or outcome,
        batches=batches,
    )


def newest(run: RunFacts, key: str, stream: str, others: Sequence[str]) -> dict[str, Any] | None:
    found = [p.value for p in run.of_key(key) if isinstance(p.value, dict) and belongs(stream, others, p.value)]
    return found[-1] if found else None


def _mode(run: RunFacts, plan: Mapping[str, Any] | None, role: str) -> str:
    if action := run.conf.get("action"):
        return str(action)
    if role == REBUILD:
        return ROLLBACK if run.conf.get("rollback_to") else REBUILD
    if role == SWEEP:
        return SWEEP
    return "backfill" if plan and plan.get("mode") == "backfill" else "reindex"


def _state(run: RunFacts, batches: Sequence[TaskStatus]) -> RunState:
    if run.state == "queued":
        return RunState.QUEUED
    if run.state == "running":
        return RunState.APPROVAL if any(task.approval for task in run.tasks) else RunState.RUNNING
    if run.state == "success":
        return RunState.COMPLETED
    stopped = _was_cancelled(run) or any(batch.status == "cancelled" for batch in batches)
    return RunState.CANCELLED if stopped else RunState.FAILED


def _was_cancelled(run: RunFacts) -> bool:
    """By one of our doors; by Airflow's own page, its tasks' progress says so."""
    return (run.note or "").startswith(CANCELLED_NOTE)


def _batches(run: RunFacts, stream: str, others: Sequence[str]) -> tuple[TaskStatus, ...]:
    """The task instances that have shown progress, and those beside them that have not begun."""
    shown: dict[tuple[str, int], Published] = {(p.task_id, p.map_index): p for p in run.of_key(PROGRESS_KEY)}
    mine = {place for place, p in shown.items() if belongs(stream, others, p.value)}
    working = {task_id for task_id, _ in mine}
    failures = {(p.task_id, p.map_index): p.value for p in run.of_key(FAILURE_KEY)}
    found = []
    for task in run.tasks:
        place = (task.task_id, task.map_index)
        if place in mine or (
            task.map_index >= 0 and place not in shown and (not others[1:] or task.task_id in working)
        ):
            batch = _batch(task, shown.get(place), failures.get(place))
            if batch.status == "failed" and place not in failures and _was_cancelled(run):
                # Airflow marks those as failed too that had not begun.
                batch = replace(batch, status="cancelled")
            found.append(batch)
    return tuple(found)


def _batch(task: TaskFacts, shown: Published | None, failure: Any) -> TaskStatus:
    status = _STATUS.get(task.state or "", "pending")
    record = as_shown(shown.value, task_ended=task.state in _ENDED) if shown else {}
    # The record of an earlier try says nothing of one that has not begun.
    if status == "failed" and record.get("status") == "cancelled":
        status = "cancelled"
    message = str(record.get("message") or "")
    if status in ("failed", "retrying") and isinstance(failure, Mapping):
        message = str(failure.get("message") or message)
    running = status == "running"
    return TaskStatus(
        task_id=task.task_id,
        map_index=task.map_index,
        label=task.label or (f"{task.task_id} {task.map_index + 1}" if task.map_index >= 0 else task.task_id),
        status=status,
        try_number=task.try_number,
        total=record.get("total"),
        processed=int(record.get("processed") or 0),
        docs_per_s=record.get("docs_per_s") if running else None,
        eta_ms=record.get("eta_ms") if running else None,
        message=message,
        counts={name: int(record.get(name) or 0) for name in _COUNTS} if record else {},
    )


def _figures(
    plan: Mapping[str, Any] | None, outcome: Mapping[str, Any] | None, batches: Sequence[TaskStatus], state: RunState
) -> tuple[int | None, int, float | None]:
    """What is to do, what is done, and the one as a part of the other."""
    if outcome is not None and "processed" in outcome and state not in (RunState.RUNNING, RunState.QUEUED):
        indexed = int(outcome.get("rows" if "ranges" in outcome else "processed") or 0)
        total = int(outcome.get("rows" if "ranges" in outcome else "total") or 0)
        if state is not RunState.COMPLETED:
            # What a batch that did not end has done, no closing task counts; it is in the index all the same.
            indexed += sum(batch.processed for batch in batches if batch.status != "completed")
    else:
        indexed = sum(batch.processed for batch in batches)
        planned = None if plan is None else int(plan.get("rows") or 0)
        known = sum(batch.total or 0 for batch in batches)
        if planned is None and not batches:
            return None, 0, 1.0 if state is RunState.COMPLETED else None
        total = max(planned or 0, known)
    if state is RunState.COMPLETED:
        return max(total, indexed), indexed, 1.0
    total = max(total, indexed)
    # Nothing says that it is all before the run has ended: a batch may find more, and the closing task is to come.
    return total, indexed, round(min(indexed / total, 0.99), 4) if total else 0.0


def _message(
    run: RunFacts,
    plan: Mapping[str, Any] | None,
    outcome: Mapping[str, Any] | None,
    batches: Sequence[TaskStatus],
    state: RunState,
) -> str:
    if state is RunState.QUEUED:
        return "Waits for Airflow's scheduler: it starts when no other run of its Dag is under way."
    if state is RunState.APPROVAL:
        return next(task.approval for task in run.tasks if task.approval) or ""
    if state is RunState.RUNNING:
        said = [batch.message for batch in batches if batch.status == "running" and batch.message]
        waits = [task for task in run.tasks if task.state == "deferred" and task.approval is None]
        if said:
            return said[0]
        if waits and not batches:
            return "Waits for another rebuild or sweep of the stream."
        return "" if batches else "Plans." if plan is None else "Begins."
    if state is RunState.CANCELLED:
        return run.note or "Cancelled."
    if outcome is not None and state is RunState.COMPLETED:
        if outcome.get("dry_run"):
            return _would(outcome)
        counts = [f"{outcome[name]:,} {name}" for name in _COUNTS if outcome.get(name)]
        return ", ".join(counts) or "Nothing to do."
    return ""


def _would(outcome: Mapping[str, Any]) -> str:
    """What a dry run says: of a sweep what differs, of a run what it would index."""
    if "ranges" in outcome:
        found = [f"{outcome[name]:,} {name}" for name in Difference if outcome.get(name)]
        return f"Compared only: {', '.join(found) or 'nothing differs'}."
    rows, batches = int(outcome.get("rows") or 0), int(outcome.get("batches") or 0)
    of = "row" if rows == 1 else "rows"
    return f"A run would index {rows:,} {of}, in {batches:,} {'batch' if batches == 1 else 'batches'}."


def _reason(run: RunFacts, batches: Sequence[TaskStatus], stream: str, others: Sequence[str]) -> str | None:
    """The first thing that went wrong for the stream; closing tasks fail later, of what failed before them."""
    failures = [p for p in run.of_key(FAILURE_KEY) if isinstance(p.value, dict) and belongs(stream, others, p.value)]
    if failures:
        return str(failures[0].value.get("message"))
    if said := next((batch.message for batch in batches if batch.status == "failed" and batch.message), None):
        return said
    tasks = sorted({task.task_id for task in run.tasks if task.state == "failed"})
    return f"Task {', '.join(map(repr, tasks))} failed without a word; its log may say why." if tasks else run.note


def _freshness_s(run: RunFacts, stream: str, others: Sequence[str]) -> float | None:
    standing = newest(run, STANDING_KEY, stream, others)
    if standing is None or not standing.get("fresh_until"):
        return None
    return seconds_between(standing["fresh_until"], standing["at"])


def seconds_between(earlier: str, later: str) -> float:
    """Of two times in ISO 8601; 0 where the clocks disagree."""
    return round(max((datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds(), 0.0), 3)
