"""Forgetting recorded deletions that no index needs any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import chain

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.groups import known_groups
from airflow_reindex_provider.core.model import Key
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.core.recording import RecordingSource
from airflow_reindex_provider.core.retention import passed
from airflow_reindex_provider.stream import Stream


def purge_tombstones(*streams: Stream, older_than: timedelta, conn_id: str | None = None) -> int:
    """Delete the tombstones that are older than this and that every generation of all these streams has passed; returns how
    many; of what left a list of children, what no version rests on. To be called in a task, since the checkpoints are read.

    :param streams: all streams that read this tombstones' table, in this deployment.
    :param older_than: at least this old. :param conn_id: a connection that may delete there; default: the source's own.
    :raises ConfigurationError: the streams read different tables, or a generation has no checkpoint yet.
    """
    sources, limit, parked = _purgeable(streams, older_than)
    return sum(source.purge_tombstones(below=limit, keep=parked, conn_id=conn_id) for source in sources)


def count_purgeable(*streams: Stream, older_than: timedelta) -> int:
    """How many :func:`purge_tombstones` would delete; writes nothing, and needs no other connection than the source's own."""
    sources, limit, parked = _purgeable(streams, older_than)
    return sum(source.count_tombstones(below=limit, keep=parked) for source in sources)


def _purgeable(
    streams: Sequence[Stream], older_than: timedelta
) -> tuple[Sequence[RecordingSource], str, Sequence[Key]]:
    """The sources that differ, the cursor value below which its tombstones may go, and the keys whose tombstones stay."""
    sources = [s.source for s in streams if isinstance(s.source, RecordingSource) and s.source.records_deletions]
    if len(sources) < max(1, len(streams)) or len({(s.conn_id, s.tombstone_table) for s in sources}) > 1:
        raise ConfigurationError("purge_tombstones: name the streams that read one table of tombstones, at least one.")
    source = sources[0]
    with source.open() as session:
        schema = session.schema()
    limit = schema.cursor_type.bound(utc_now() - older_than, schema.cursor_timezone)
    parked: frozenset[Key] = frozenset()
    for stream in chain.from_iterable(map(_with_indexes, streams)):
        with stream.target.open(stream.name) as target:
            limit, waiting = passed(
                stream.name, target=target, store=stream.checkpoint, cursor_type=schema.cursor_type, limit=limit
            )
        parked |= waiting
    return list({str(s.serialize()): s for s in sources}.values()), limit, sorted(parked)


def _with_indexes(stream: Stream) -> Iterator[Stream]:
    """The streams of its groups, where it has groups."""
    if not stream.has_groups:
        yield stream
        return
    for value in known_groups(stream.name, stream.checkpoint):
        yield stream.of_group(value)
