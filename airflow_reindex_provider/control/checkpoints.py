"""A checkpoint set to another place, or forgotten. A run that is under way leaves it where a person has put it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from airflow_reindex_provider.control.parked import BY_HAND
from airflow_reindex_provider.control.places import checkpoint_of, named_group
from airflow_reindex_provider.core.errors import CheckpointConflictError, CheckpointInvalidError, ConfigurationError
from airflow_reindex_provider.core.model import Checkpoint, Position, Survey
from airflow_reindex_provider.core.planning import current_generation
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.core.protocols import SAVE_TRIES
from airflow_reindex_provider.stream import Stream


def set_checkpoint(
    stream: Stream, cursor: object, key: Sequence[str] = (), *, group: str | None = None
) -> tuple[Checkpoint, Checkpoint]:
    """Let the next run read on from there; what is parked stays. Returns what was stored, and what is now.

    :param cursor: a point in time (aware, or ISO 8601), or a number. :param key: of the first row to read among those with this
        cursor value; empty is all of them. :param group: of a stream with groups, which has a checkpoint for each.
    :raises ConfigurationError: that is no place in the stream's order of change, or lies ahead of the source's clock; nothing was
        changed."""
    own = _own(stream, group)
    with own.source.open() as source:
        position = _position(own, source.survey(), cursor, key)
    for attempt in range(SAVE_TRIES):
        stored = checkpoint_of(own)
        saved_at = utc_now().isoformat(timespec="seconds")
        try:
            return stored, own.checkpoint.save(replace(stored, position=position, saved_at=saved_at, saved_by=BY_HAND))
        except CheckpointConflictError:
            if attempt == SAVE_TRIES - 1:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _position(stream: Stream, survey: Survey, cursor: object, key: Sequence[str]) -> Position:
    schema = survey.schema
    kind = schema.cursor_type
    try:
        place = kind.bound(cursor, schema.cursor_timezone)
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"Stream {stream.name!r}: {cursor!r} is no {kind} value: {error}. Nothing was changed."
        ) from error
    if len(key) not in (0, len(schema.primary_key)):
        raise ConfigurationError(
            f"Stream {stream.name!r}: a key has a text for each of {', '.join(schema.primary_key)}, and {list(key)} does not."
            " Nothing was changed."
        )
    if survey.now is not None and kind.ordinal(place) > kind.ordinal(survey.now):
        raise ConfigurationError(
            f"Stream {stream.name!r}: {place} lies ahead of the source's clock ({survey.now}), so rows would be skipped. Nothing"
            " was changed."
        )
    return Position(place, tuple(key))


def reset_checkpoint(stream: Stream, *, group: str | None = None) -> Checkpoint | None:
    """Forget it, with what is parked: the next run reads from the first row on. Returns what was stored; None where that could
    not be read.

    :raises ConfigurationError: there is no index yet, or a stream with groups is given without one."""
    own = _own(stream, group)
    try:
        stored = checkpoint_of(own)
    except CheckpointInvalidError:
        with own.target.open(own.name) as target:
            own.checkpoint.reset(own.name, str(current_generation(target)))
        return None
    own.checkpoint.reset(own.name, stored.generation)
    return stored


def _own(stream: Stream, group: str | None) -> Stream:
    if group is not None:
        return named_group(stream, group)
    if stream.has_groups:
        raise ConfigurationError(
            f"Stream {stream.name!r} has groups, and a checkpoint for each: say which with group, the value of one."
        )
    return stream
