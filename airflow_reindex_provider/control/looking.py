"""How fresh a stream is, exactly: asked of its source, at the source's own clock."""

from __future__ import annotations

from typing import Any

from airflow_reindex_provider.control.places import reads_from, served_before
from airflow_reindex_provider.control.words import counted
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Look, Position
from airflow_reindex_provider.core.protocols import LookingSource
from airflow_reindex_provider.stream import Stream

MOST_COUNTED = 100_000
"""How far changes that wait are counted; that many stand for more."""


def look(stream: Stream) -> dict[str, Any]:
    """What waits at the source past the checkpoint, as small JSON; writes nothing.

    ``at`` (the source's clock), ``waiting`` (changes, recorded deletions included), ``oldest_s`` (age of the oldest of them; 0
    where none waits, None where the cursor is not made of time), ``oldest_at``, ``ahead`` (rows stamped ahead of the clock),
    ``counted_to`` (how far these were counted), ``since`` (the checkpoint; None where all rows are to be read), ``horizon`` and
    ``held_by`` (what holds it back, or why it cannot be seen), ``generations`` (of each that was served before, by name: how many
    changes a roll-back to it would read again), and ``lines``, for people. Times are ISO 8601 in UTC. Parked documents are not
    among what waits.

    A stream with groups is as fresh as the group that is furthest behind: since its checkpoint, the changes of all groups count.
    Its ``generations`` are not looked at.

    :raises ConfigurationError: the source cannot tell, or something of the stream is wrong. :raises TransientError: a side of it
        does not answer.
    """
    with stream.source.open() as source:
        if not isinstance(source, LookingSource):
            raise ConfigurationError(f"Stream {stream.name!r}: {stream.source.label} cannot say how many changes wait.")
        # Before the look: what a run reads meanwhile counts once more, and nothing is left out.
        since, _ = reads_from(stream, source)
        if since is None and stream.first_cursor is not None:
            schema = source.schema()
            since = Position(schema.cursor_type.bound(stream.first_cursor, schema.cursor_timezone))
        seen = source.look(since, limit=MOST_COUNTED)
        before = {} if stream.has_groups else served_before(stream)
        again = {name: source.look(reached, limit=MOST_COUNTED).waiting for name, reached in before.items()}
    oldest_s = None if seen.oldest_at is None else max((seen.at - seen.oldest_at).total_seconds(), 0.0)
    return {
        "at": seen.at.isoformat(timespec="milliseconds"),
        "waiting": seen.waiting,
        "oldest_s": oldest_s if seen.waiting else 0.0,
        "oldest_at": seen.oldest_at.isoformat() if seen.oldest_at else None,
        "ahead": seen.ahead,
        "counted_to": seen.limit,
        "since": str(since) if since else None,
        "horizon": seen.horizon.cursor,
        "held_by": seen.horizon.held_by,
        "generations": again,
        "lines": _lines(seen, oldest_s),
    }


def _lines(seen: Look, oldest_s: float | None) -> list[str]:
    if not seen.waiting:
        lines = ["Nothing waits: the index has every change that can be seen."]
    else:
        age = "" if oldest_s is None else f"; the oldest is {oldest_s:,.0f} s old ({seen.oldest})"
        lines = [f"{_counted(seen.waiting, seen, ('waits', 'wait'))} past the checkpoint{age}."]
    if seen.ahead:
        lines.append(f"{_counted(seen.ahead, seen, ('is', 'are'))} stamped ahead of the source's clock.")
    if seen.horizon.held_by:
        lines.append(f"The horizon is held back: {seen.horizon.held_by}.")
    return lines


def _counted(count: int, seen: Look, verb: tuple[str, str]) -> str:
    return counted(count, "change", verb, more=count >= seen.limit)
