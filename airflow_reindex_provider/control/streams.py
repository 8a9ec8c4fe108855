"""What is done to a stream outside of its runs: say that it was changed, rename it, move its checkpoints, remove it.

Works wherever its checkpoint store does: a Variable needs a running task, a table any process that reaches it. Pause the stream's
Dags first; a rebuild or a sweep that is under way is met by its lease. Each function can be called again after it broke off. With
``dry_run``, which is what they do unless told otherwise, they only say what they would do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.groups import GROUPS, known_groups
from airflow_reindex_provider.core.leases import LEASE, acquire, current, release
from airflow_reindex_provider.core.model import Checkpoint, Generation
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.core.protocols import CheckpointStore, OwnedTarget
from airflow_reindex_provider.core.recording import RecordingSource
from airflow_reindex_provider.core.remembered import STREAM, Memory
from airflow_reindex_provider.stream import Stream


def accept_changes(stream: Stream) -> None:
    """Forget what the checkpoint store remembers of what the stream connects and of its source; the next run remembers what it
    finds. Checkpoints stay."""
    for own in (stream, *groups_of(stream)):
        own.checkpoint.reset(own.name, STREAM)


def rename_stream(stream: Stream, name: str, *, dry_run: bool = True) -> list[str]:
    """Give the stream's index and all its checkpoints to a stream of another name; says what that is. Then write the name into
    the Dag file.

    :param stream: as it is in the Dag file now. :param name: the new one.
    :raises ConfigurationError: the target cannot hand its index over, the names of groups would change, or something else is
        kept under the new name.
    """
    if name == stream.name:
        raise ConfigurationError(f"Stream {stream.name!r} has this name already; nothing was changed.")
    renamed = replace(stream, name=name)
    pairs = [(stream, renamed), *((own, renamed.of_group(own_value)) for own_value, own in _groups(stream))]
    for old, new in pairs[1:]:
        if old.target.label != new.target.label:
            raise ConfigurationError(
                f"Stream {stream.name!r} cannot be renamed to {name!r}: the name leaves another room for those of its groups, so"
                f" {old.target.label} would be {new.target.label}. Take a shorter name."
            )
    with _held(stream, "rename", dry_run=dry_run):
        done: list[str] = []
        for old, new in pairs:
            generations = _generations(old) if (mine := _is_owner(old)) else _generations(new)
            kept = list(_kept(old, generations))
            for checkpoint in kept:
                _copy(checkpoint, new.checkpoint, new.name, dry_run=dry_run)
                done.append(f"{_said(checkpoint)} is kept for stream {new.name!r}")
            for generation in generations:
                done.append(f"generation {generation.name} of {old.target.label} belongs to stream {new.name!r}")
            if not dry_run:
                if mine and generations:
                    with _opened(old) as session:
                        session.hand_over(new.name)
                # Those that an earlier call had handed over are among the new one's by now.
                for name_kept in {c.generation for c in kept} | {g.name for g in _generations(new)}:
                    old.checkpoint.reset(old.name, name_kept)
        return done


def move_checkpoint(stream: Stream, to: CheckpointStore, *, dry_run: bool = True) -> list[str]:
    """Move all that is kept of the stream to another store, parked documents too; says what that is. Then write the store into
    the Dag file.

    :param stream: with the store that it has now. :param to: the new one.
    :raises ConfigurationError: something else is kept in the new one already, or it is the one that the stream has.
    """
    with _held(stream, "move of checkpoints", dry_run=dry_run):
        _require_another_store(stream, to, dry_run=dry_run)
        done: list[str] = []
        for own in (stream, *groups_of(stream)):
            kept = list(_kept(own, _generations(own)))
            for checkpoint in kept:
                _copy(checkpoint, to, own.name, dry_run=dry_run)
                done.append(f"{_said(checkpoint)} goes to the new store. {to.where(own.name, checkpoint.generation)}")
            # All of it is in the new store before any of it leaves the old one.
            for checkpoint in kept if not dry_run else ():
                own.checkpoint.reset(own.name, checkpoint.generation)
        return done


def remove_stream(
    stream: Stream, *, tombstones: bool = False, conn_id: str | None = None, dry_run: bool = True
) -> list[str]:
    """Remove all that was made for the stream: its public name, every generation with its documents, and all that the checkpoint
    store keeps of it; says what that is. Then take it out of the Dag file. What belongs to the source stays, and is listed too.

    :param tombstones: drop what records deletions at the source as well, which other streams may read. :param conn_id: a
        connection that may do so; default: the source's own.
    :raises ConfigurationError: the index is another stream's, or in use by what was made on top of it.
    """
    with _held(stream, "removal", dry_run=dry_run):
        done: list[str] = []
        # The list of groups goes last, or a second try would not find them.
        for own in (*groups_of(stream), stream):
            generations = _generations(own)
            kept = list(_kept(own, generations))
            done += [
                f"generation {g.name} of {own.target.label}{', which is live, and its public name' if g.live else ''}"
                for g in generations
            ]
            done += [
                f"{_said(checkpoint)}. {own.checkpoint.where(own.name, checkpoint.generation)}" for checkpoint in kept
            ]
            if not dry_run:
                if generations:
                    with _opened(own) as session:
                        session.remove()
                # Now that there is no index, a checkpoint misleads nobody.
                for checkpoint in kept:
                    own.checkpoint.reset(own.name, checkpoint.generation)
    if not isinstance(stream.source, RecordingSource) or stream.source.tombstone_table is None:
        return done
    if tombstones:
        if not dry_run:
            stream.source.remove_tombstones(conn_id=conn_id)
        done.append(f"the tombstones of {stream.source.label}, with their triggers")
    else:
        done.append(
            f"left alone: the tombstones of {stream.source.label}, which other streams may read; remove_tombstones() of the"
            " source drops them"
        )
    return done


def groups_of(stream: Stream) -> Iterator[Stream]:
    """The streams of the groups that any run has met."""
    return (own for _, own in _groups(stream))


def _groups(stream: Stream) -> Iterator[tuple[str, Stream]]:
    if stream.has_groups:
        for value in known_groups(stream.name, stream.checkpoint):
            yield value, stream.of_group(value)


def _is_owner(stream: Stream) -> bool:
    """False where the index is another stream's; one that is not there is nobody's."""
    try:
        _generations(stream)
    except ConfigurationError:
        return False
    return True


def _generations(stream: Stream) -> Sequence[Generation]:
    """Without those of its groups, each of which has an index of its own."""
    if stream.has_groups:
        return ()
    with stream.target.open(stream.name) as session:
        return session.generations()


@contextmanager
def _opened(stream: Stream) -> Iterator[OwnedTarget]:
    with stream.target.open(stream.name) as session:
        if not isinstance(session, OwnedTarget):
            raise ConfigurationError(
                f"Stream {stream.name!r}: {stream.target.label} can neither hand over nor remove an index. Do it by hand."
            )
        yield session


def _kept(stream: Stream, generations: Sequence[Generation]) -> Iterator[Checkpoint]:
    """All that the store keeps of the stream, but for the lease. What it remembers comes last: a second try needs it."""
    store = stream.checkpoint
    names = [g.name for g in generations]
    known = Memory(store, stream.name, stream.route).known
    if known is not None and known.generation not in (*names, GROUPS):
        # Of an index that is gone.
        names.append(known.generation)
    for name in (*names, GROUPS, STREAM):
        checkpoint = store.load(stream.name, name)
        if checkpoint.version:
            yield checkpoint


def _copy(checkpoint: Checkpoint, to: CheckpointStore, stream: str, *, dry_run: bool) -> None:
    """:raises ConfigurationError: something else is there."""
    there = to.load(stream, checkpoint.generation)
    wanted = replace(checkpoint, stream=stream, version=there.version)
    if there.version and there != wanted:
        raise ConfigurationError(
            f"There is something else already where {_said(checkpoint)} should go, and it is not overwritten; nothing was"
            f" changed there. {to.where(stream, checkpoint.generation)}"
        )
    if not there.version and not dry_run:
        to.save(wanted)


@contextmanager
def _held(stream: Stream, purpose: str, *, dry_run: bool) -> Iterator[None]:
    """:raises StreamBusyError: a rebuild or a sweep is under way."""
    if dry_run:
        yield
        return
    store, holder = stream.checkpoint, f"{purpose} by hand"
    acquire(store, stream.name, holder=holder, purpose=purpose, now=utc_now())
    try:
        yield
    finally:
        release(store, stream.name, holder=holder)


def _require_another_store(stream: Stream, to: CheckpointStore, *, dry_run: bool) -> None:
    """:raises ConfigurationError: the two are one, maybe by other names; what is moved would be forgotten."""
    same = to == stream.checkpoint
    # The lease that was just taken in the one shows in the other.
    if same or (not dry_run and current(to, stream.name) == current(stream.checkpoint, stream.name)):
        raise ConfigurationError(
            f"Stream {stream.name!r} keeps its checkpoints there already; nothing was changed."
            f" {to.where(stream.name, LEASE)}"
        )


def _said(checkpoint: Checkpoint) -> str:
    if checkpoint.generation == STREAM:
        return f"what is remembered of stream {checkpoint.stream!r}"
    if checkpoint.generation == GROUPS:
        return f"the list of groups of stream {checkpoint.stream!r}"
    parked = f", {len(checkpoint.parked)} parked" if checkpoint.parked else ""
    return f"the checkpoint of {checkpoint.generation} ({checkpoint.position or 'no cursor yet'}{parked})"
