"""What carries the mark of streams that are not in sight: left alone, and told, unless a person has said that the stream is gone.

That no Dag names a stream proves nothing: its file may fail to parse today, or belong to another deployment."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from airflow_reindex_provider.core.cleaning.judging import saved_before
from airflow_reindex_provider.core.cleaning.records import Orphan, OrphanKind, Rules
from airflow_reindex_provider.core.groups import GROUPS
from airflow_reindex_provider.core.leases import LEASE, lease_in
from airflow_reindex_provider.core.model import Checkpoint, Marked
from airflow_reindex_provider.core.remembered import STREAM

UNSEEN = "no stream of this name is in sight: left alone; say that it is gone, where it is"
_KINDS = {LEASE: OrphanKind.LEASE, GROUPS: OrphanKind.GROUPS, STREAM: OrphanKind.MEMORY}


def things_of(
    kept: Mapping[str, Sequence[Checkpoint]], marked: Mapping[str, Sequence[Marked]], *, seen: Collection[str]
) -> Iterator[Orphan]:
    """All that is of streams whose names are not among those seen. :param kept: by store. :param marked: by connection."""
    for where, of_target in marked.items():
        for m in of_target:
            if m.stream not in seen and not m.stray:
                yield Orphan(OrphanKind(m.kind), m.stream, m.name, where, UNSEEN, m.bytes)
    for where, of_store in kept.items():
        for checkpoint in of_store:
            if checkpoint.stream not in seen:
                kind = _KINDS.get(checkpoint.generation, OrphanKind.CHECKPOINT)
                yield Orphan(kind, checkpoint.stream, checkpoint.generation, where, UNSEEN)


def judged(
    things: Sequence[Orphan],
    kept: Mapping[str, Sequence[Checkpoint]],
    *,
    gone: Collection[str],
    rules: Rules,
    now: datetime,
) -> Iterator[tuple[Orphan, bool]]:
    """Each of the things, and whether it may go. One of a stream that is said to be gone and was at work lately stays."""
    busy = {name: why for name in gone if (why := _at_work(name, kept, rules=rules, now=now))}
    for thing in things:
        if thing.stream not in gone:
            yield thing, False
        elif why := busy.get(thing.stream):
            yield replace(thing, reason=why), False
        else:
            yield replace(thing, reason="its stream is gone, as a person has said"), True


def _at_work(stream: str, kept: Mapping[str, Sequence[Checkpoint]], *, rules: Rules, now: datetime) -> str | None:
    for checkpoint in (c for of_store in kept.values() for c in of_store if c.stream == stream):
        if checkpoint.generation == LEASE:
            lease = lease_in(checkpoint)
            if lease is not None and lease.until > now:
                return f"it is said to be gone, and it is at work: {lease}"
        elif checkpoint.saved_at and not saved_before(checkpoint, now - rules.older_than):
            return (
                f"it is said to be gone, and a run of it has saved at {checkpoint.saved_at}"
                f" ({checkpoint.saved_by or 'nobody knows which'})"
            )
    return None
