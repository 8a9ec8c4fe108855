"""What is done to a stream outside of its runs. Works wherever its checkpoint store does: a Variable needs a running task, a
table any process that reaches it."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_reindex_provider.core.groups import known_groups
from airflow_reindex_provider.core.remembered import STREAM
from airflow_reindex_provider.stream import Stream


def accept_changes(stream: Stream) -> None:
    """Forget what the checkpoint store remembers of what the stream connects and of its source; the next run remembers what it
    finds. Checkpoints stay."""
    for own in (stream, *groups_of(stream)):
        own.checkpoint.reset(own.name, STREAM)


def groups_of(stream: Stream) -> Iterator[Stream]:
    """The streams of the groups that any run has met."""
    if stream.has_groups:
        for value in known_groups(stream.name, stream.checkpoint):
            yield stream.of_group(value)
