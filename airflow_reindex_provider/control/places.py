"""Where the next run of a stream reads on from, and what else its checkpoint keeps."""

from __future__ import annotations

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.groups import furthest_behind, known_groups
from airflow_reindex_provider.core.model import Checkpoint, Position
from airflow_reindex_provider.core.planning import current_generation
from airflow_reindex_provider.core.protocols import SourceSession
from airflow_reindex_provider.stream import Stream


def reads_from(stream: Stream, source: SourceSession) -> tuple[Position | None, str]:
    """The stored position, of all groups the one that is furthest behind, and where it is kept. None before the first load has
    ended. Each group costs a look at its index.

    :param source: the stream's, open."""
    if not stream.has_groups:
        return _of(stream)
    starts = [_of(stream.of_group(value)) for value in known_groups(stream.name, stream.checkpoint)]
    return furthest_behind(source.schema().cursor_type, starts)


def named_group(stream: Stream, group: str) -> Stream:
    """One group of a stream. :param group: its value, or the name of its own stream.
    :raises ConfigurationError: there is none, or the stream has no groups."""
    if not stream.has_groups:
        raise ConfigurationError(f"Stream {stream.name!r} has no groups, so there is no group {group!r} of it.")
    groups = {value: stream.of_group(value) for value in known_groups(stream.name, stream.checkpoint)}
    found = groups.get(group) or next((own for own in groups.values() if own.name == group), None)
    if found is None:
        shown = ", ".join(map(repr, list(groups)[:10])) or "none yet"
        raise ConfigurationError(
            f"Stream {stream.name!r}: no run has met a group {group!r}. It has {len(groups):,}: {shown}."
        )
    return found


def checkpoint_of(stream: Stream) -> Checkpoint:
    """What runs read on from and save, of a stream without groups or of one group.

    :raises ConfigurationError: there is no index yet."""
    with stream.target.open(stream.name) as target:
        generation = current_generation(target)
    if generation is None:
        raise ConfigurationError(
            f"Stream {stream.name!r} has no index yet, and so no checkpoint: let a run load it first."
        )
    return stream.checkpoint.load(stream.name, generation)


def served_before(stream: Stream) -> dict[str, Position]:
    """The generations that a roll-back can serve again, by name, each with where it would read on from.

    :param stream: without groups, or of one group."""
    with stream.target.open(stream.name) as target:
        names = [generation.name for generation in target.generations() if generation.served and not generation.live]
    found = {name: stream.checkpoint.load(stream.name, name).position for name in names}
    return {name: position for name, position in found.items() if position is not None}


def _of(stream: Stream) -> tuple[Position | None, str]:
    with stream.target.open(stream.name) as target:
        generation = current_generation(target)
    if generation is None:
        return None, ""
    stored = stream.checkpoint.load(stream.name, generation)
    return stored.position, stream.checkpoint.where(stream.name, generation)
