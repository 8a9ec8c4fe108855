"""Parked documents: tried again at once, or given up. Runs may save the same checkpoint meanwhile: then it is read again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from airflow_reindex_provider.control.places import checkpoint_of, named_group
from airflow_reindex_provider.control.streams import groups_of
from airflow_reindex_provider.core.errors import CheckpointConflictError, ConfigurationError
from airflow_reindex_provider.core.model import Key, Parked
from airflow_reindex_provider.core.parking import beside_each_other
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.core.protocols import SAVE_TRIES
from airflow_reindex_provider.stream import Stream

BY_HAND = "by hand"
"""What a checkpoint says of who saved it."""

Change = Callable[[Parked], Parked | None]


def retry_parked(stream: Stream, *, keys: Iterable[Key] | None = None, group: str | None = None) -> int:
    """Let the next run try parked documents again; says how many.

    :param keys: of those; None is all. :param group: of a stream with groups: one of them; None is all.
    :raises ConfigurationError: a key is not parked; nothing was changed."""
    now = utc_now().isoformat(timespec="seconds")
    return _change(stream, keys, group, lambda parked: replace(parked, next_try_at=now))


def drop_parked(stream: Stream, *, keys: Iterable[Key] | None = None, group: str | None = None) -> int:
    """Give parked documents up; the rest as in :func:`retry_parked`."""
    return _change(stream, keys, group, lambda parked: None)


def _change(stream: Stream, keys: Iterable[Key] | None, group: str | None, change: Change) -> int:
    named = None if keys is None else {tuple(key) for key in keys}
    streams = _streams(stream, group)
    if named is not None:
        known = {parked.key for own in streams for parked in checkpoint_of(own).parked}
        if unknown := sorted(named - known):
            shown = ", ".join("/".join(key) for key in unknown[:10])
            raise ConfigurationError(
                f"Stream {stream.name!r}: no parked document has the key {shown}; nothing was changed."
            )
    return sum(_save(own, named, change) for own in streams)


def _streams(stream: Stream, group: str | None) -> list[Stream]:
    """Those that have a checkpoint of their own."""
    if group is not None:
        return [named_group(stream, group)]
    if not stream.has_groups:
        return [stream]
    return [own for own in groups_of(stream) if _has_index(own)]


def _has_index(stream: Stream) -> bool:
    with stream.target.open(stream.name) as target:
        return bool(target.generations())


def _save(stream: Stream, named: Collection[Key] | None, change: Change) -> int:
    for attempt in range(SAVE_TRIES):
        stored = checkpoint_of(stream)
        chosen = [parked for parked in stored.parked if named is None or parked.key in named]
        if not chosen:
            return 0
        changed = {parked.key: change(parked) for parked in chosen}
        kept = [after for parked in stored.parked if (after := changed.get(parked.key, parked)) is not None]
        saved_at = utc_now().isoformat(timespec="seconds")
        try:
            stream.checkpoint.save(replace(stored, parked=beside_each_other(kept), saved_at=saved_at, saved_by=BY_HAND))
        except CheckpointConflictError:
            if attempt == SAVE_TRIES - 1:
                raise
            continue
        return len(chosen)
    raise AssertionError("unreachable: the last attempt returns or raises")
