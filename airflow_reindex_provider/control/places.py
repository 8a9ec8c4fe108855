"""Where the next run of a stream reads on from."""

from __future__ import annotations

from airflow_reindex_provider.core.groups import furthest_behind, known_groups
from airflow_reindex_provider.core.model import Position
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


def _of(stream: Stream) -> tuple[Position | None, str]:
    with stream.target.open(stream.name) as target:
        generation = current_generation(target)
    if generation is None:
        return None, ""
    stored = stream.checkpoint.load(stream.name, generation)
    return stored.position, stream.checkpoint.where(stream.name, generation)
