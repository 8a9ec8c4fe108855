"""What a source that records its deletions may forget: only what every index made from it has passed."""

from __future__ import annotations

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import NotPassedYetError
from airflow_reindex_provider.core.model import Key
from airflow_reindex_provider.core.protocols import CheckpointStore, TargetSession


def passed(
    stream: str, *, target: TargetSession, store: CheckpointStore, cursor_type: CursorType, limit: str
) -> tuple[str, frozenset[Key]]:
    """The cursor value below which no generation of the stream will read again, at most ``limit``; and the keys that wait,
    parked, for another try.

    Previous generations count too: a rollback reads on from their own checkpoints. A generation that is made after this began
    is empty, and reads from a horizon that lies at or past every checkpoint.

    :raises NotPassedYetError: a generation has no checkpoint yet.
    """
    parked: set[Key] = set()
    for generation in target.generations():
        checkpoint = store.load(stream, generation.name)
        if checkpoint.position is None:
            raise NotPassedYetError(
                f"Stream {stream!r}: generation {generation.name!r} has no checkpoint yet, so it may need every recorded"
                " deletion. Let the run that loads it finish, then purge again."
            )
        limit = min(limit, checkpoint.position.cursor, key=cursor_type.ordinal)
        parked.update(p.key for p in checkpoint.parked)
    return limit, frozenset(parked)
