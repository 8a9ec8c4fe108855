"""How a stream stands, as its target and its checkpoint store say: closing tasks publish it for whoever looks at the stream."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ReindexError
from airflow_reindex_provider.core.generations import made_at
from airflow_reindex_provider.core.groups import known_groups
from airflow_reindex_provider.core.leases import current
from airflow_reindex_provider.core.model import Checkpoint, Generation, Position, Size
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.core.protocols import MeasuredTarget
from airflow_reindex_provider.stream import Stream

log = logging.getLogger(__name__)

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

    Of a stream with groups each is looked at: generations and parked documents have their ``group``; ``documents`` are those of
    all, and ``fresh_until`` is of the one furthest behind, both None where one of them does not say; checkpoint and lease are
    each one's own.

    :param cursor_type: of the stream's cursor, as a plan knows it; None leaves ``fresh_until`` out.
    """
    if stream.has_groups:
        return _of_groups(stream, cursor_type)
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


def _of_groups(stream: Stream, cursor_type: CursorType | None) -> dict[str, Any]:
    told = {value: _of_group(stream, value, cursor_type) for value in known_groups(stream.name, stream.checkpoint)}
    known = {value: record for value, record in told.items() if record is not None}
    times = [record["fresh_until"] for record in known.values()]
    documents = [record["documents"] for record in known.values()]
    parked = [{**one, "group": value} for value, record in known.items() for one in record["parked"]["documents"]]
    parked.sort(key=lambda document: (document["next_try_at"], document["group"], document["key"]))
    all_told = bool(told) and len(known) == len(told)
    return {
        **_whose(stream),
        "generations": [{**one, "group": value} for value, record in known.items() for one in record["generations"]],
        "documents": sum(documents) if all_told and None not in documents else None,
        "checkpoint": None,
        "fresh_until": min(times, key=datetime.fromisoformat) if all_told and None not in times else None,
        "parked": {
            "count": sum(record["parked"]["count"] for record in known.values()),
            "documents": parked[:MOST_PARKED],
        },
        "lease": None,
    }


def _of_group(stream: Stream, value: str, cursor_type: CursorType | None) -> dict[str, Any] | None:
    """None where it does not say: the others do."""
    try:
        return standing(stream.of_group(value), cursor_type)
    except ReindexError as error:
        log.warning("How group %r of stream %r stands is not known: %s", value, stream.name, error)
        return None


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
