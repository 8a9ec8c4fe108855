"""The routes that read: all streams, one, its runs, one of them. From Airflow's metadata database alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from airflow.api_fastapi.common.db.common import SessionDep
from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from airflow_reindex_provider.control.acts import ACTS
from airflow_reindex_provider.control.status.catalogue import StreamEntry
from airflow_reindex_provider.control.status.records import RunStatus, StreamState, StreamStatus, to_json
from airflow_reindex_provider.control.status.scheduler import scheduler_status
from airflow_reindex_provider.control.status.streams import (
    list_status,
    run_of_stream,
    runs_of_stream,
    stream_status,
)
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.plugin.described import (
    DETAIL_ANSWER,
    LIST_ANSWER,
    RUN_ANSWER,
    RUNS_ANSWER,
)
from airflow_reindex_provider.plugin.problems import Problem
from airflow_reindex_provider.plugin.rights import Person, PersonDep

router = APIRouter(prefix="/streams", tags=["streams"])
SHOWN_RUNS = 5
"""Of each stream in a list, newest first."""
_STATES = tuple(str(state) for state in StreamState)
_ORDERS: dict[str, Any] = {
    "attention": None,
    "name": lambda s: (False, s.name),
    "state": lambda s: (False, str(s.state)),
    "freshness": lambda s: (s.freshness.at_most_s is None, s.freshness.at_most_s),
    "documents": lambda s: (s.documents is None, s.documents),
    "parked": lambda s: (s.parked is None, s.parked and s.parked["count"]),
}

Limit = Annotated[int, Query(ge=1, le=500, description="How many, at the most.")]
Offset = Annotated[int, Query(ge=0, le=1_000_000, description="How many are left out before them.")]


@router.get("", responses=LIST_ANSWER)
def list_streams(
    person: PersonDep,
    session: SessionDep,
    limit: Limit = 50,
    offset: Offset = 0,
    q: Annotated[str, Query(max_length=250, description="Text in the name, the source's or the target's label.")] = "",
    state: Annotated[list[str] | None, Query(description=f"Any of these: {', '.join(_STATES)}.")] = None,
    dag_id: Annotated[str | None, Query(max_length=250, description="Of a Dag: those that it carries.")] = None,
    order_by: Annotated[
        str, Query(description=f"One of {', '.join(_ORDERS)}; with - before it, the other way round.")
    ] = "attention",
) -> JSONResponse:
    """All streams that you may see: those that need somebody first, then by name."""
    wanted = [s for s in state or () if s]
    if unknown := [s for s in wanted if s not in _STATES]:
        raise Problem(422, "parameters", f"state: there is no {unknown[0]!r}. There are: {', '.join(_STATES)}.")
    entries = person.streams()
    if dag_id is not None:
        entries = {name: e for name, e in entries.items() if any(dag.dag_id == dag_id for dag in e.dags)}
    found = list_status(session, entries=entries)
    text = q.strip().lower()
    chosen = [
        s
        for s in found
        if (not wanted or str(s.state) in wanted)
        and (not text or any(text in said.lower() for said in (s.name, s.source, s.target)))
    ]
    page = _ordered(chosen, order_by)[offset : offset + limit]
    return _answer(session, {"streams": [_short(s) for s in page], "total": len(chosen)})


@router.get("/{name}", responses=DETAIL_ANSWER)
def get_stream(person: PersonDep, session: SessionDep, name: str) -> JSONResponse:
    """One stream, with its last runs, and what you may do to it."""
    entry = person.stream(name)
    status = stream_status(session, name, entries={name: entry})
    assert status is not None
    dag_id = status.run.dag_id if status.run else entry.dags[0].dag_id
    shown = to_json(status)
    for run in (*shown["recent"], shown["last_success"], shown["last_failure"], shown["last_sweep"]):
        if run:
            run["batches"] = []
    return _answer(
        session,
        {
            "stream": shown,
            "can": _can(person, entry),
            "may": {"cancel": person.may_cancel(dag_id), "answer": person.may_answer(dag_id)},
        },
    )


@router.get("/{name}/runs", responses=RUNS_ANSWER)
def list_runs(person: PersonDep, session: SessionDep, name: str, limit: Limit = 50, offset: Offset = 0) -> JSONResponse:
    """Runs of the stream's Dags, the newest first."""
    runs, total = runs_of_stream(session, person.stream(name), limit=limit, offset=offset)
    return JSONResponse({"runs": [to_json(replace(run, batches=())) for run in runs], "total": total}, headers=_FRESH)


@router.get("/{name}/runs/{dag_id}/{run_id}", responses=RUN_ANSWER)
def get_run(person: PersonDep, session: SessionDep, name: str, dag_id: str, run_id: str) -> JSONResponse:
    """One run, with its batches."""
    return JSONResponse(to_json(seen_run(person, session, name, dag_id, run_id)), headers=_FRESH)


def seen_run(person: Person, session: Any, name: str, dag_id: str, run_id: str) -> RunStatus:
    """:raises Problem: 404, where the stream has no such run that the person may see."""
    if run := run_of_stream(session, name, dag_id, run_id, entries={name: person.stream(name)}):
        return run
    raise Problem(
        404,
        "no-such-run",
        f"Stream {name!r} has no run {run_id!r} of a Dag {dag_id!r} that you may read."
        f" GET /reindex/api/v1/streams/{name}/runs lists those you may read.",
    )


_FRESH = {"Cache-Control": "no-store"}


def _answer(session: Any, content: dict[str, Any]) -> JSONResponse:
    told = {"at": utc_now().isoformat(timespec="milliseconds"), "scheduler": to_json(scheduler_status(session))}
    return JSONResponse({**content, **told}, headers=_FRESH)


def _ordered(streams: list[StreamStatus], order_by: str) -> list[StreamStatus]:
    name = order_by.removeprefix("-")
    if name not in _ORDERS:
        raise Problem(422, "parameters", f"order_by: there is no {name!r}. There are: {', '.join(_ORDERS)}.")
    descending = order_by.startswith("-")
    if _ORDERS[name] is None:
        return streams[::-1] if descending else streams
    key = _ORDERS[name]
    known = sorted((s for s in streams if not key(s)[0]), key=lambda s: s.name)
    known.sort(key=lambda s: key(s)[1], reverse=descending)
    # What is not known comes last, whichever way.
    return known + sorted((s for s in streams if key(s)[0]), key=lambda s: s.name)


def _short(status: StreamStatus) -> dict[str, Any]:
    """Without batches, and with as many runs as a small plot shows."""
    recent = tuple(replace(run, batches=(), result=None) for run in status.recent[:SHOWN_RUNS])
    last = {
        name: replace(run, batches=())
        for name in ("run", "last_success", "last_failure", "last_sweep")
        if (run := getattr(status, name))
    }
    short: dict[str, Any] = to_json(replace(status, recent=recent, **last))
    return short


def _can(person: Person, entry: StreamEntry) -> list[dict[str, Any]]:
    return [
        {"name": act.name, "says": act.says, "schema": act.schema_for(dag.fields), "needed": list(act.needed)}
        for act in ACTS.values()
        if (dag := entry.dag_of(act.role)) and person.may_start(entry, act) is None
    ]
