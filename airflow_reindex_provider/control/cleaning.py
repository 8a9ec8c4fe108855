"""Clean-up over all streams of a deployment: what nothing needs any more is found, told, and dropped.

A stream is judged by what it is in the Dag file now. Whatever fails for one stream leaves the others'."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from airflow_reindex_provider.control.streams import groups_of
from airflow_reindex_provider.control.tombstones import count_purgeable, purge_tombstones
from airflow_reindex_provider.core.cleaning.of_stream import StreamCleaning
from airflow_reindex_provider.core.cleaning.parts import ListingStore, MarkingTarget
from airflow_reindex_provider.core.cleaning.records import Orphan, OrphanKind, Rules
from airflow_reindex_provider.core.cleaning.unseen import judged, things_of
from airflow_reindex_provider.core.errors import ConfigurationError, NotPassedYetError, ReindexError, StreamBusyError
from airflow_reindex_provider.core.leases import Keeper
from airflow_reindex_provider.core.model import Checkpoint, Marked
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.core.protocols import CheckpointStore
from airflow_reindex_provider.core.recording import RecordingSource
from airflow_reindex_provider.core.remembered import remembered_in
from airflow_reindex_provider.stream import Stream

log = logging.getLogger(__name__)

_ORDER = list(OrphanKind)
PURPOSE = "clean-up"


@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """What a clean-up is about.

    :param streams: all streams that are in use. :param rules: what is old enough.
    :param gone: names of streams that are not among them and will not come back.
    :param tombstones_older_than: recorded deletions at least this old are purged, once every generation of all streams that read
        them has passed them; None keeps all.
    :param owners: connections that may delete recorded deletions, by the source's connection.
    :raises ConfigurationError: a stream is in use and gone.
    """

    streams: Sequence[Stream]
    rules: Rules = Rules()
    gone: Collection[str] = ()
    tombstones_older_than: timedelta | None = timedelta(days=30)
    owners: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if both := sorted({s.name for s in self.streams} & set(self.gone)):
            raise ConfigurationError(
                f"{', '.join(map(repr, both))} cannot be gone: a stream of this name is in the list of those in use. Take it out"
                " there first."
            )


@dataclass(slots=True)
class Found:
    """:ivar orphans: what may go, in the order in which it goes. :ivar left: what looks like it and stays, each with the reason.
    :ivar troubles: what could not be looked at, by the name of a stream or a place, with the error."""

    orphans: list[Orphan] = field(default_factory=list)
    left: list[Orphan] = field(default_factory=list)
    troubles: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Dropped:
    """:ivar dropped: what has gone. :ivar spared: what is needed by now, or was gone already.
    :ivar busy: streams whose lease another run holds, and which: what is of them waits for the next clean-up.
    :ivar troubles: as in ``Found``."""

    dropped: list[Orphan] = field(default_factory=list)
    spared: list[Orphan] = field(default_factory=list)
    busy: dict[str, str] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)


def find_orphans(cleaning: Cleaning, *, now: datetime | None = None) -> Found:
    """What nothing needs, with its size and why; writes nothing.

    :param now: aware; default: the time of day."""
    found, now = Found(), now or utc_now()
    kept = _kept(cleaning.streams, found.troubles)
    marked: dict[str, Sequence[Marked]] = {}
    seen: set[str] = set()
    for stream in cleaning.streams:
        with _troubles_of(stream.name, found.troubles):
            seen.add(stream.name)
            for own in _with_indexes(stream):
                seen.add(own.name)
                with _troubles_of(own.name, found.troubles), ExitStack() as opened:
                    one = _open(own, cleaning.rules, now, opened, kept.get(repr(own.checkpoint)))
                    found.orphans += one.find()
                    if isinstance(one.target, MarkingTarget):
                        marked[_connection(own)] = one.target.marked()
    grouped = tuple(f"{s.name}." for s in cleaning.streams if s.has_groups)
    things = [t for t in things_of(kept, marked, seen=seen) if not t.stream.startswith(grouped or ("\0",))]
    for thing, goes in judged(things, kept, gone=cleaning.gone, rules=cleaning.rules, now=now):
        (found.orphans if goes else found.left).append(thing)
    for readers in _by_tombstones(cleaning.streams):
        with _troubles_of(_tombstones_label(readers[0]), found.troubles):
            _find_tombstones(cleaning, readers, kept, seen, found)
    found.orphans.sort(key=lambda o: (_ORDER.index(o.kind), o.stream, o.name))
    return found


def drop_orphans(cleaning: Cleaning, orphans: Sequence[Orphan], *, holder: str, now: datetime | None = None) -> Dropped:
    """Drop those of the things that nothing needs now either, under each stream's lease.

    :param orphans: of :func:`find_orphans`. :param holder: who takes the leases, as in ``core.leases.acquire``."""
    done, now = Dropped(), now or utc_now()
    by_stream: dict[str, list[Orphan]] = {}
    for orphan in orphans:
        by_stream.setdefault(orphan.stream, []).append(orphan)
    for stream in cleaning.streams:
        with _troubles_of(stream.name, done.troubles):
            for own in _with_indexes(stream):
                wanted = [o for o in by_stream.pop(own.name, ()) if o.kind is not OrphanKind.TOMBSTONES]
                if wanted:
                    with _troubles_of(own.name, done.troubles, done.busy), ExitStack() as opened:
                        keep = opened.enter_context(_held(own.checkpoint, own.name, holder))
                        one = _open(own, cleaning.rules, now, opened, None)
                        done.dropped += one.drop(wanted, keep=keep, troubles=done.troubles)
    _drop_gone(cleaning, by_stream, done, holder=holder, now=now)
    for readers in _by_tombstones(cleaning.streams):
        label = _tombstones_label(readers[0])
        for orphan in (o for o in orphans if o.kind is OrphanKind.TOMBSTONES and f"{o.name} on {o.where}" == label):
            with _troubles_of(label, done.troubles):
                try:
                    if purged := _purge(cleaning, readers):
                        done.dropped.append(replace(orphan, count=purged))
                except NotPassedYetError as error:
                    # A rebuild has begun meanwhile, and reads them.
                    log.info("Spared: %s: %s", orphan, error)
    gone = {orphan.identity for orphan in done.dropped}
    done.spared = [orphan for orphan in orphans if orphan.identity not in gone]
    return done


def _drop_gone(
    cleaning: Cleaning, by_stream: Mapping[str, Sequence[Orphan]], done: Dropped, *, holder: str, now: datetime
) -> None:
    """What is of streams that are gone: what people see of them first, what the next try finds them by last."""
    stores = {repr(stream.checkpoint): stream.checkpoint for stream in cleaning.streams}
    through = {_connection(own): own for stream in cleaning.streams for own in _with_indexes(stream)}
    names = [name for name in by_stream if name in cleaning.gone]
    if not names:
        return
    again = {orphan.identity for orphan in find_orphans(cleaning, now=now).orphans}
    for name in names:
        things = [o for o in by_stream[name] if o.identity in again and o.kind is not OrphanKind.TOMBSTONES]
        with _troubles_of(name, done.troubles, done.busy), ExitStack() as held:
            for where in dict.fromkeys(o.where for o in things if o.where in stores):
                held.enter_context(_held(stores[where], name, holder))
            for orphan in things:
                if orphan.where in stores:
                    stores[orphan.where].reset(name, orphan.name)
                elif orphan.where in through:
                    own = through[orphan.where]
                    with own.target.open(own.name) as session:
                        assert isinstance(session, MarkingTarget)
                        if not session.unmake(Marked(str(orphan.kind), name, orphan.name)):
                            continue
                log.info("Dropped %s", orphan)
                done.dropped.append(orphan)


def _find_tombstones(
    cleaning: Cleaning,
    readers: Sequence[Stream],
    kept: Mapping[str, Sequence[Checkpoint]],
    seen: Collection[str],
    found: Found,
) -> None:
    older_than = cleaning.tombstones_older_than
    if older_than is None:
        return
    names = ", ".join(sorted(s.name for s in readers))
    table, _, where = _tombstones_label(readers[0]).rpartition(" on ")
    reason = f"older than {older_than}, and every generation of {names} has passed them"
    orphan = Orphan(OrphanKind.TOMBSTONES, readers[0].name, table, where, reason)
    if any(getattr(s.source, "parts", ()) for s in readers):
        # What left their children is recorded in tables that other streams may read as well.
        found.left.append(replace(orphan, reason="the source has children: purge_tombstones() does it, by hand"))
        return
    try:
        orphan = replace(orphan, count=count_purgeable(*readers, older_than=older_than))
    except NotPassedYetError as error:
        found.left.append(replace(orphan, reason=str(error)))
        return
    if not orphan.count:
        return
    places = {s.name for s in readers} | {repr(s.checkpoint) for s in cleaning.streams}
    if other := _other_reader(readers, kept, seen):
        reason = f"stream {other!r} reads this source too, as far as is remembered, and it is not in sight"
        found.left.append(replace(orphan, reason=reason))
    elif trouble := next((name for name in found.troubles if name in places), None):
        found.left.append(replace(orphan, reason=f"{trouble} could not be looked at, and may need them"))
    else:
        found.orphans.append(orphan)


def _other_reader(
    readers: Sequence[Stream], kept: Mapping[str, Sequence[Checkpoint]], seen: Collection[str]
) -> str | None:
    """A stream that is not in sight, and that connects the same source as far as its own memory says."""
    memories = [(c.stream, known) for cs in kept.values() for c in cs if (known := remembered_in(c)) is not None]
    own = {stream.name for stream in readers}
    labels = {stream.source.label for stream in readers}
    tables = {known.table for name, known in memories if name in own and known.table}
    for name, known in memories:
        if name not in seen and (known.route.source in labels or known.table in tables):
            return name
    return None


def _purge(cleaning: Cleaning, readers: Sequence[Stream]) -> int:
    older_than = cleaning.tombstones_older_than
    assert older_than is not None
    conn_id = cleaning.owners.get(str(getattr(readers[0].source, "conn_id", "")))
    return purge_tombstones(*readers, older_than=older_than, conn_id=conn_id)


def _open(
    stream: Stream, rules: Rules, now: datetime, opened: ExitStack, kept: Sequence[Checkpoint] | None
) -> StreamCleaning:
    return StreamCleaning(
        stream=stream.name,
        route=stream.route,
        target=opened.enter_context(stream.target.open(stream.name)),
        store=stream.checkpoint,
        rules=rules,
        now=now,
        source=stream.source.open,
        kept=kept,
    )


def _kept(streams: Sequence[Stream], troubles: dict[str, str]) -> dict[str, Sequence[Checkpoint]]:
    """By store, each asked once. What a store cannot list is not there, and none of it is judged by that."""
    found: dict[str, Sequence[Checkpoint]] = {}
    for name, store in {repr(stream.checkpoint): stream.checkpoint for stream in streams}.items():
        if isinstance(store, ListingStore):
            with _troubles_of(name, troubles):
                found[name] = list(store.kept())
        else:
            found[name] = ()
    return found


def _with_indexes(stream: Stream) -> Iterator[Stream]:
    """The streams of its groups, where it has groups."""
    return groups_of(stream) if stream.has_groups else iter((stream,))


def _by_tombstones(streams: Sequence[Stream]) -> list[list[Stream]]:
    """Those that read one table of recorded deletions, together."""
    found: dict[tuple[str, str | None], list[Stream]] = {}
    for stream in streams:
        if isinstance(stream.source, RecordingSource) and stream.source.tombstone_table is not None:
            found.setdefault((stream.source.conn_id, stream.source.tombstone_table), []).append(stream)
    return list(found.values())


def _tombstones_label(stream: Stream) -> str:
    assert isinstance(stream.source, RecordingSource)
    return f"{stream.source.tombstone_table} on connection {stream.source.conn_id!r}"


def _connection(stream: Stream) -> str:
    conn_id = getattr(stream.target, "conn_id", None)
    return stream.target.label if conn_id is None else f"connection {conn_id!r}"


@contextmanager
def _troubles_of(name: str, troubles: dict[str, str], busy: dict[str, str] | None = None) -> Iterator[None]:
    """Notes what goes wrong with one thing, so that the others go on. :param busy: takes that somebody else is at work on it."""
    try:
        yield
    except StreamBusyError as error:
        log.info("%s", error)
        (troubles if busy is None else busy)[name] = str(error)
    except Exception as error:
        # A client's own error too: whatever it is, it is no reason to leave the other streams as they are.
        said = str(error) if isinstance(error, ReindexError) else f"{type(error).__name__}: {error}"
        log.warning("%s: %s", name, said)
        troubles[name] = said


@contextmanager
def _held(store: CheckpointStore, stream: str, holder: str) -> Iterator[Callable[[], None]]:
    """:raises StreamBusyError: a rebuild, a sweep or another clean-up is under way."""
    keeper = Keeper(store, stream, holder=holder, purpose=PURPOSE)
    keeper.keep()
    try:
        yield keeper.keep
    finally:
        keeper.release()
