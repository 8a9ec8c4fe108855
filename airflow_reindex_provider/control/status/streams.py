"""All streams, or one, as they are now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.control.acts import STREAM
from airflow_reindex_provider.control.carried import REBUILD, REINDEX, SWEEP
from airflow_reindex_provider.control.status.catalogue import CarryingDag, StreamEntry, list_streams
from airflow_reindex_provider.control.status.facts import RunFacts, page_of_runs, run_of, runs_of
from airflow_reindex_provider.control.status.records import (
    DagOfStream,
    Freshness,
    RunState,
    RunStatus,
    StreamState,
    StreamStatus,
)
from airflow_reindex_provider.control.status.runs import ROLLBACK, belongs, newest, run_status
from airflow_reindex_provider.control.status.scheduler import scheduler_status
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.core.published import ACTION_KEY, GROUP_KEY, OUTCOME_KEY, PLAN_KEY, STANDING_KEY

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

RECENT = 5
"""Runs of each Dag that a list looks at."""
MOST_RECENT = 50
"""Runs of each Dag that the page of one stream shows."""
LOOK = "look"
"""The action that looks at the source for changes that wait."""
_INDEXING = ("reindex", "backfill", REBUILD, ROLLBACK)
"""Modes of runs that bring the index up to date."""
_SHOWN_FIRST = (RunState.APPROVAL, RunState.RUNNING, RunState.QUEUED)
"""Of several runs that are under way: what waits for a person, then what works; of these, the last to have begun."""
_INTERVALS_BEHIND = 2.0
_GRACE = timedelta(minutes=1)
_ORDER = [StreamState.FAILING, StreamState.APPROVAL, StreamState.BEHIND]
"""What somebody should look at first; the others go by name."""


def list_status(session: Session, *, entries: Mapping[str, StreamEntry] | None = None) -> list[StreamStatus]:
    """All streams: those that need somebody first, then by name. Nine statements at the most, however many there are.

    :param entries: those that may be seen, of ``list_streams``; None is all. It is the same for the others below."""
    found = _statuses(session, list_streams(session) if entries is None else entries, newest_runs=RECENT)
    return sorted(found, key=lambda s: (_ORDER.index(s.state) if s.state in _ORDER else len(_ORDER), s.name))


def stream_status(
    session: Session,
    name: str,
    *,
    entries: Mapping[str, StreamEntry] | None = None,
    newest_runs: int = MOST_RECENT,
) -> StreamStatus | None:
    """One stream; None where no Dag that may be seen carries it."""
    entries = list_streams(session) if entries is None else entries
    if name not in entries:
        return None
    return _statuses(session, {name: entries[name]}, newest_runs=newest_runs)[0]


def run_of_stream(
    session: Session, name: str, dag_id: str, run_id: str, *, entries: Mapping[str, StreamEntry] | None = None
) -> RunStatus | None:
    """One run with its batches; None where there is none that may be seen."""
    entries = list_streams(session) if entries is None else entries
    dag = next((d for d in entries[name].dags if d.dag_id == dag_id), None) if name in entries else None
    run = run_of(session, dag_id, run_id) if dag else None
    if dag is None or run is None:
        return None
    return run_status(run, stream=name, others=dag.streams, role=_role(dag, run))


def runs_of_stream(session: Session, entry: StreamEntry, *, limit: int, offset: int = 0) -> tuple[list[RunStatus], int]:
    """Runs of its Dags without their batches, the newest first, and how many there are in all."""
    dags = {dag.dag_id: dag for dag in entry.dags}
    facts, total = page_of_runs(session, dags.keys(), limit=limit, offset=offset)
    runs = [
        run_status(run, stream=entry.name, others=dags[run.dag_id].streams, role=_role(dags[run.dag_id], run))
        for run in facts
    ]
    return runs, total


def _statuses(session: Session, entries: Mapping[str, StreamEntry], *, newest_runs: int) -> list[StreamStatus]:
    by_dag: dict[str, list[RunFacts]] = {}
    for run in runs_of(session, {d.dag_id for e in entries.values() for d in e.dags}, newest=newest_runs):
        by_dag.setdefault(run.dag_id, []).append(run)
    now = utc_now()
    under_way = any(not run.is_over for runs in by_dag.values() for run in runs)
    stuck = "" if not under_way or (scheduler := scheduler_status(session)).alive else scheduler.says
    return [_status(entry, by_dag, now, newest_runs, stuck) for entry in entries.values()]


def _role(dag: CarryingDag, run: RunFacts) -> str:
    """What a run does for the stream; of a Dag that does several things, by what it has published."""
    if len(dag.roles) == 1:
        return dag.roles[0]
    return REINDEX if run.of_key(PLAN_KEY) or run.of_key(OUTCOME_KEY) or not dag.roles else dag.roles[0]


def _status(
    entry: StreamEntry, by_dag: Mapping[str, Sequence[RunFacts]], now: datetime, newest_runs: int, stuck: str
) -> StreamStatus:
    """:param stuck: why no run moves at the moment; empty where they do."""
    facts = sorted(
        (run for dag in entry.dags for run in by_dag.get(dag.dag_id, ()) if run.conf.get(STREAM) in (None, entry.name)),
        key=_began,
        reverse=True,
    )
    dags = {dag.dag_id: dag for dag in entry.dags}
    sharing = {dag.dag_id: dag.streams for dag in entry.dags}
    runs = [
        run_status(run, stream=entry.name, others=sharing[run.dag_id], role=_role(dags[run.dag_id], run))
        for run in facts
    ]
    standing = _latest(facts, sharing, entry.name, STANDING_KEY) or {}
    plan = _latest(facts, sharing, entry.name, PLAN_KEY) or {}
    outcome = _latest(facts, sharing, entry.name, OUTCOME_KEY) or {}
    freshness = _freshness(facts, sharing, entry.name, standing, now)
    active = [run for run in runs if not run.is_over]
    over = [run for run in runs if run.is_over]
    current = min(active, key=lambda run: _SHOWN_FIRST.index(run.state), default=None)
    state = _state(entry, active, over, freshness)
    shown = current or (over[0] if over else None)
    return StreamStatus(
        name=entry.name,
        source=entry.about.source,
        target=entry.about.target,
        guarantee=entry.about.guarantee,
        store=entry.about.store,
        has_groups=entry.about.groups,
        state=state,
        reindexing=any(run.state is RunState.RUNNING and run.mode in _INDEXING for run in active),
        message=(current and stuck) or _message(state, current, over, freshness),
        progress=shown.progress if shown else None,
        eta_ms=shown.eta_ms if shown else None,
        indexed_count=shown.indexed_count if shown else 0,
        total_count=shown.total_count if shown else None,
        docs_per_s=shown.docs_per_s if shown else None,
        freshness=freshness,
        horizon=plan.get("horizon"),
        held_by=plan.get("held_by"),
        warnings=tuple(plan.get("warnings") or ()),
        documents=standing.get("documents"),
        parked=standing.get("parked")
        or ({"count": outcome["parked"], "documents": []} if "parked" in outcome else None),
        checkpoint=standing.get("checkpoint"),
        generations=_generations(facts, sharing, entry.name, standing),
        groups=outcome.get("groups"),
        lease=standing.get("lease"),
        standing_at=datetime.fromisoformat(standing["at"]) if standing else None,
        run=current,
        last_success=next((run for run in over if run.state is RunState.COMPLETED and _indexes(run)), None),
        last_failure=next((run for run in over if run.state is RunState.FAILED), None),
        last_sweep=next((run for run in over if run.mode == SWEEP and run.result), None),
        recent=tuple(runs[place] for place in _newest(facts, newest_runs)),
        dags=tuple(
            DagOfStream(d.dag_id, d.roles, d.paused, d.schedule, d.next_run_at, d.has_import_errors) for d in entry.dags
        ),
    )


def _newest(facts: Sequence[RunFacts], newest_runs: int) -> list[int]:
    """Places of the newest runs of each Dag, and of all that are not over: without those that come for what they tell alone."""
    ids: dict[str, list[int]] = {}
    for run in facts:
        ids.setdefault(run.dag_id, []).append(run.id)
    kept = {id for of_dag in ids.values() for id in sorted(of_dag, reverse=True)[:newest_runs]}
    return [place for place, run in enumerate(facts) if run.id in kept or not run.is_over]


def _indexes(run: RunStatus) -> bool:
    """Whether it is a run that brings the index up to date, and not one that looks, or does something beside."""
    return run.mode in _INDEXING and not run.dry_run


def _began(run: RunFacts) -> tuple[datetime, int]:
    return run.started_at or run.queued_at or utc_now(), run.id


def _latest(
    facts: Sequence[RunFacts], sharing: Mapping[str, Sequence[str]], stream: str, key: str
) -> dict[str, Any] | None:
    """What was published last, by whichever run."""
    found = [
        published
        for run in facts
        for published in run.of_key(key)
        if isinstance(published.value, dict) and belongs(stream, sharing[run.dag_id], published.value)
    ]
    return max(found, key=lambda p: p.at).value if found else None


def _generations(
    facts: Sequence[RunFacts], sharing: Mapping[str, Sequence[str]], stream: str, standing: Mapping[str, Any]
) -> tuple[dict[str, Any], ...]:
    """As the last record has them; of a group whose part of a rebuild was closed since then, as they were after that."""
    taken = standing.get("at") or ""
    later = sorted(
        (
            published.value
            for run in facts
            for published in run.of_key(GROUP_KEY)
            if belongs(stream, sharing[run.dag_id], published.value) and published.value["at"] > taken
        ),
        key=lambda value: value["at"],
    )
    newest = {value["group"]: value["generations"] for value in later}
    kept = [one for one in standing.get("generations") or () if one.get("group") not in newest]
    told = [{**one, "group": group} for group, generations in newest.items() for one in generations]
    return tuple(sorted((*kept, *told), key=lambda one: one["group"]) if told else kept)


def _freshness(
    facts: Sequence[RunFacts],
    sharing: Mapping[str, Sequence[str]],
    stream: str,
    standing: Mapping[str, Any],
    now: datetime,
) -> Freshness:
    until = standing.get("fresh_until")
    fresh_until = datetime.fromisoformat(until) if until else None
    looks = [
        answer
        for run in facts
        if run.conf.get("action") == LOOK and (answer := newest(run, ACTION_KEY, stream, sharing[run.dag_id]))
    ]
    at_most = None if fresh_until is None else round(max((now - fresh_until).total_seconds(), 0.0), 3)
    return Freshness(at_most, fresh_until, looks[0] if looks else None)


def _state(
    entry: StreamEntry, active: Sequence[RunStatus], over: Sequence[RunStatus], freshness: Freshness
) -> StreamState:
    if any(run.state is RunState.APPROVAL for run in active):
        return StreamState.APPROVAL
    running = {run.mode for run in active if run.state is RunState.RUNNING}
    if running & {REBUILD, ROLLBACK}:
        return StreamState.REBUILDING
    if SWEEP in running:
        return StreamState.SWEEPING
    if running & set(_INDEXING):
        return StreamState.REINDEXING
    if _failing(over):
        return StreamState.FAILING
    mains = [dag for dag in entry.dags if REINDEX in dag.roles]
    if _is_behind(mains, freshness):
        return StreamState.BEHIND
    if mains and all(dag.paused for dag in mains):
        return StreamState.PAUSED
    return StreamState.IDLE


def _failing(over: Sequence[RunStatus]) -> list[RunStatus]:
    """The last run of each Dag, where it failed: that a sweep has passed does not mend a run that cannot. What somebody has
    cancelled, a look or a dry run says nothing of that; nor does a rollback that cannot be, which leaves all as it was."""
    last: dict[str, RunStatus] = {}
    for run in over:
        tells = (_indexes(run) and run.mode != ROLLBACK) or (run.mode == SWEEP and not run.dry_run)
        if tells and run.state is not RunState.CANCELLED:
            last.setdefault(run.dag_id, run)
    return [run for run in last.values() if run.state is RunState.FAILED]


def _is_behind(dags: Sequence[CarryingDag], freshness: Freshness) -> bool:
    """Whether the oldest unread change may be older than two intervals of the schedule and a minute explain."""
    widths = [dag.interval_s for dag in dags if dag.interval_s]
    if not widths or freshness.at_most_s is None:
        return False
    return freshness.at_most_s > _INTERVALS_BEHIND * min(widths) + _GRACE.total_seconds()


def _message(state: StreamState, current: RunStatus | None, over: Sequence[RunStatus], freshness: Freshness) -> str:
    if current is not None:
        return current.message
    if state is StreamState.FAILING:
        failed = _failing(over)[0]
        return failed.reason or f"Run {failed.run_id} of {failed.dag_id} failed."
    if state is StreamState.BEHIND:
        return f"Changes may be as old as {freshness.at_most_s:,.0f} s: no run has read them."
    return over[0].message if over else "No run has ended yet."
