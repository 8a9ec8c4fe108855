"""How a stream stands, as its target and its checkpoint store say: closing tasks publish it for whoever looks at the stream."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.generations import made_at
from airflow_reindex_provider.core.leases import current
from airflow_reindex_provider.core.model import Checkpoint, Generation, Position, Size
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.core.protocols import MeasuredTarget
from airflow_reindex_provider.core.running.settling_groups import GroupOutcomes
from airflow_reindex_provider.stream import Stream

MOST_PARKED = 100
"""Parked documents that are told with their reasons, those that are tried next first; all of them are counted."""


def standing(stream: Stream, cursor_type: CursorType | None = None) -> dict[str, Any]:
    """A record of the stream, or of one group; small enough for an XCom.

    ``stream``, ``at`` (when it was taken), ``source``, ``target``, ``guarantee``, ``generations`` (``name, live, served,
    made_at, fresh_until, documents, documents_estimated, bytes``; oldest first), ``documents`` of the live one, ``checkpoint``
    (``generation, cursor, key, saved_at, saved_by, where``) or None, ``fresh_until``, ``parked`` (``count``, and ``documents``:
    ``key, reason, attempts, parked_at, next_try_at``) and ``lease`` (``holder, purpose, since, until``) or None.

    ``fresh_until`` (ISO 8601, UTC) is the time before which every change is in the live index, or in a generation that was
    served, parked documents apart; None where the cursor is not made of time, or nothing was indexed yet.

    :param cursor_type: of the stream's cursor, as a plan knows it; None leaves ``fresh_until`` out.
    """
    with stream.target.open(stream.name) as target:
        generations = target.generations()
        sizes = target.sizes() if isinstance(target, MeasuredTarget) else {}
    live = next((g for g in generations if g.live), None)
    checkpoints = {g.name: stream.checkpoint.load(stream.name, g.name) for g in generations if g.live or g.served}
    checkpoint = checkpoints.get(live.name) if live else None
    lease = current(stream.checkpoint, stream.name)
    told = [
        _told(generation, sizes, _fresh_until(stream, cursor_type, checkpoints.get(generation.name)))
        for generation in generations
    ]
    return {
        **_whose(stream),
        "generations": told,
        "documents": next((generation["documents"] for generation in told if generation["live"]), None),
        "checkpoint": _where(stream, checkpoint) if checkpoint and checkpoint.version else None,
        "fresh_until": _fresh_until(stream, cursor_type, checkpoint),
        "parked": _parked(checkpoint),
        "lease": lease
        and {
            "holder": lease.holder,
            "purpose": lease.purpose,
            "since": lease.since.isoformat(),
            "until": lease.until.isoformat(),
        },
    }


def standing_of_groups(stream: Stream, run: GroupOutcomes) -> dict[str, Any]:
    """The same record of a stream with groups, from how a run has left each of them, without a look at every target: parked
    documents of all, each with its ``group``, and ``fresh_until`` of the one furthest behind; None where the run has failed for a
    group, so that nobody knows how far that one is. The rest is each one's own."""
    times = [_time_of(stream, outcome.plan.cursor_type, outcome.checkpoint_after) for outcome in run.outcomes]
    known = [time for time in times if time is not None]
    all_known = bool(known) and len(known) == len(run.plans.plans) and not run.failures
    parked: list[dict[str, Any]] = []
    for outcome in run.outcomes:
        if outcome.parked and len(parked) < MOST_PARKED:
            group = str(outcome.plan.group)
            own = stream.of_group(group)
            kept = own.checkpoint.load(own.name, outcome.plan.generation).parked
            parked += [{**document.to_json(), "group": group} for document in kept]
    parked.sort(key=lambda document: (document["next_try_at"], document["group"], document["key"]))
    return {
        **_whose(stream),
        "generations": [],
        "documents": None,
        "checkpoint": None,
        "fresh_until": min(known).isoformat() if all_known else None,
        "parked": {"count": sum(outcome.parked for outcome in run.outcomes), "documents": parked[:MOST_PARKED]},
        "lease": None,
    }


def _whose(stream: Stream) -> dict[str, Any]:
    return {
        "stream": stream.name,
        "at": utc_now().isoformat(timespec="milliseconds"),
        "source": stream.source.label,
        "target": stream.target.label,
        "guarantee": str(stream.target.guarantee),
    }


def _told(generation: Generation, sizes: Mapping[str, Size], fresh_until: str | None) -> dict[str, Any]:
    size = sizes.get(generation.name)
    return {
        "name": generation.name,
        "live": generation.live,
        "served": generation.served,
        "made_at": made.isoformat() if (made := made_at(generation.name)) else None,
        "fresh_until": fresh_until,
        "documents": size.documents if size else None,
        "documents_estimated": size.estimated if size else False,
        "bytes": size.bytes if size else None,
    }


def _where(stream: Stream, checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "generation": checkpoint.generation,
        "cursor": checkpoint.position.cursor if checkpoint.position else None,
        "key": list(checkpoint.position.key) if checkpoint.position else [],
        "saved_at": checkpoint.saved_at,
        "saved_by": checkpoint.saved_by,
        "where": stream.checkpoint.where(stream.name, checkpoint.generation),
    }


def _fresh_until(stream: Stream, cursor_type: CursorType | None, checkpoint: Checkpoint | None) -> str | None:
    moment = _time_of(stream, cursor_type, checkpoint.position if checkpoint else None)
    return moment.isoformat() if moment else None


def _time_of(stream: Stream, cursor_type: CursorType | None, position: Position | None) -> datetime | None:
    if cursor_type is None or position is None:
        return None
    return cursor_type.moment(position.cursor, getattr(stream.source, "cursor_timezone", None))


def _parked(checkpoint: Checkpoint | None) -> dict[str, Any]:
    parked = sorted(checkpoint.parked if checkpoint else (), key=lambda p: (p.next_try_at, p.key))
    return {"count": len(parked), "documents": [p.to_json() for p in parked[:MOST_PARKED]]}
