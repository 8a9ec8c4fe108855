"""Which things of one stream nothing needs. Whoever asks holds the stream's lease, or only wants to know.

What is judged was listed in an order that makes it safe: what is kept of generations first, then the generations, then which keys
have rows. A generation never comes back under its name, so one that is kept and no longer there is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from airflow_reindex_provider.core.cleaning.records import Orphan, OrphanKind, Rules
from airflow_reindex_provider.core.generations import made_at
from airflow_reindex_provider.core.groups import GROUPS
from airflow_reindex_provider.core.leases import LEASE, Lease
from airflow_reindex_provider.core.model import Checkpoint, Generation, Key, Marked, Parked, Size
from airflow_reindex_provider.core.remembered import STREAM, Remembered

STRAYS = {
    OrphanKind.ALIAS: "it stands on an index that is no generation, or on another one than it is named after",
    OrphanKind.GENERATION: "neither pointer nor register names it: a task was killed while it made or dropped it",
}
"""Why there is such a thing that nothing uses."""
OWN_WORDS = (LEASE, GROUPS, STREAM)
"""What stands where a checkpoint has its generation, and is none."""


def unneeded_generations(
    stream: str,
    generations: Sequence[Generation],
    *,
    sizes: Mapping[str, Size],
    where: str,
    rules: Rules,
    now: datetime,
    born: Callable[[str], datetime | None] = made_at,
) -> Iterator[Orphan]:
    """Those that no search, no rollback and no rebuild will use. None where none is live: a first load may be under way.

    :param generations: oldest first."""
    if not any(g.live for g in generations):
        return
    served = [g for g in generations if g.served and not g.live]
    past = served[: max(0, len(served) - rules.retain)] if rules.retain is not None else []
    for generation in generations:
        size = sizes.get(generation.name)
        made = born(generation.name)
        if generation.live or made is None or made > now - rules.older_than:
            continue
        if generation in past:
            reason = f"past the {rules.retain} served generations that are kept"
        elif not generation.served:
            reason = "a rebuild has left it before it was served"
        else:
            continue
        documents, disk = (size.documents, size.bytes) if size else (None, None)
        yield Orphan(OrphanKind.GENERATION, stream, generation.name, where, reason, disk, documents)


def strays(stream: str, marked: Sequence[Marked], *, where: str, rules: Rules, now: datetime) -> Iterator[Orphan]:
    """What carries the stream's mark, and stands where nothing of it is used."""
    for thing in marked:
        if thing.stray and thing.stream == stream and (thing.made is None or thing.made <= now - rules.older_than):
            kind = OrphanKind(thing.kind)
            yield Orphan(kind, stream, thing.name, where, STRAYS[kind], thing.bytes)


def unneeded_checkpoints(
    stream: str,
    kept: Sequence[Checkpoint],
    generations: Sequence[Generation],
    *,
    known: Remembered | None,
    where: str,
    rules: Rules,
    now: datetime,
) -> Iterator[Orphan]:
    """Those of generations that are gone. None where the target does not show the index that runs have seen last: the connection
    may lead elsewhere today, and the checkpoint is what a run would go on from once it is back.

    :param kept: listed before the generations."""
    there = {g.name for g in generations}
    if known is None or known.generation not in there or not any(g.live for g in generations):
        return
    for checkpoint in kept:
        name = checkpoint.generation
        if name not in there and name not in OWN_WORDS and saved_before(checkpoint, now - rules.older_than):
            yield Orphan(OrphanKind.CHECKPOINT, stream, name, where, "its generation is gone")


def unneeded_lease(stream: str, lease: Lease | None, *, where: str, rules: Rules, now: datetime) -> Iterator[Orphan]:
    if lease is not None and lease.until <= now - rules.older_than:
        yield Orphan(OrphanKind.LEASE, stream, lease.holder, where, f"its {lease.purpose} is over since {lease.until}")


def old_parked(checkpoint: Checkpoint, *, rules: Rules, now: datetime) -> tuple[Parked, ...]:
    """Parked documents that are worth a look at whether they still have a row."""
    return tuple(p for p in checkpoint.parked if datetime.fromisoformat(p.parked_at) <= now - rules.older_than)


def without_rows(
    stream: str, generation: str, parked: Sequence[Parked], found: Mapping[Key, object], *, where: str
) -> Iterator[Orphan]:
    """:param found: those of the keys that have a row, gone or not."""
    keys = [p.key for p in parked if p.key not in found]
    if keys:
        reason = "their rows are gone from the source, so no try can come to anything"
        yield Orphan(OrphanKind.PARKED, stream, generation, where, reason, count=len(keys))


def saved_before(checkpoint: Checkpoint, moment: datetime) -> bool:
    """False where nobody knows when it was saved: a person has written it, perhaps."""
    if checkpoint.saved_at is None:
        return False
    saved = datetime.fromisoformat(checkpoint.saved_at)
    return saved.tzinfo is not None and saved <= moment
