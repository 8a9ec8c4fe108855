"""Leases: which run may rebuild, roll back or sweep a stream. Kept in the stream's checkpoint store, beside its checkpoints.

A lease is taken by a save that must find the version it has read, so it is as atomic as the store: of two runs exactly one
gets it where the store compares and sets. It ends by itself, so a run that died blocks nobody for longer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import datetime, timedelta

from airflow_reindex_provider.core.errors import CheckpointConflictError, StreamBusyError
from airflow_reindex_provider.core.model import Checkpoint, Position
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.core.protocols import CheckpointStore

log = logging.getLogger(__name__)

DEFAULT_LEASE = timedelta(minutes=15)
LEASE = "lease"
"""Stands where a checkpoint has its generation. No generation is called so: they all end in a time."""
_TRIES = 10


@dataclass(frozen=True, slots=True)
class Lease:
    """Who works on a stream: ``holder`` names the run, ``purpose`` what it does. Times are aware."""

    stream: str
    holder: str
    purpose: str
    since: datetime
    until: datetime

    def __str__(self) -> str:
        since, until = (moment.isoformat(sep=" ", timespec="seconds") for moment in (self.since, self.until))
        return f"{self.purpose} of run {self.holder}, since {since}, at the longest until {until}"


def acquire(
    store: CheckpointStore, stream: str, *, holder: str, purpose: str, now: datetime, ttl: timedelta = DEFAULT_LEASE
) -> Lease:
    """Take the stream's lease until ``now + ttl``, or renew one of the same holder; that never ends it sooner.

    :param holder: the run, in words that help whoever must wait: ``rebuild_products manual__2026-11-24T10:00``.
    :param now: aware.
    :raises StreamBusyError: another run holds it; the message names that run.
    """
    for attempt in range(_TRIES):
        stored = store.load(stream, LEASE)
        held = lease_in(stored)
        wanted = Lease(stream, holder, purpose, now, now + ttl)
        if held is not None and held.holder == holder:
            wanted = replace(wanted, since=held.since, until=max(held.until, wanted.until))
        elif held is not None and held.until > now:
            raise StreamBusyError(
                f"Stream {stream!r} is busy: {held}. Two of these cannot run at once; let that run end, or stop it and try"
                f" again then. {store.where(stream, LEASE)}"
            )
        try:
            store.save(_kept(stored, wanted))
        except CheckpointConflictError:
            # Several tasks of one run renew at the same moment, or another run was first: the next look tells.
            if attempt == _TRIES - 1:
                raise
            continue
        return wanted
    raise AssertionError("unreachable: the last attempt returns or raises")


def release(store: CheckpointStore, stream: str, *, holder: str) -> None:
    """Give the lease back. One that somebody else holds by now is left alone."""
    held = current(store, stream)
    if held is not None and held.holder == holder:
        store.reset(stream, LEASE)


def current(store: CheckpointStore, stream: str) -> Lease | None:
    """Whoever took the lease last and did not give it back; it may have run out."""
    return lease_in(store.load(stream, LEASE))


@dataclass(slots=True)
class Keeper:
    """Holds a lease while a task works: :meth:`keep` renews it once a third of its time is over.

    :param wall: the time of day, aware.
    """

    store: CheckpointStore
    stream: str
    _: KW_ONLY
    holder: str
    purpose: str
    ttl: timedelta = DEFAULT_LEASE
    wall: Callable[[], datetime] = utc_now
    _until: datetime | None = field(default=None, init=False)

    def keep(self) -> None:
        """:raises StreamBusyError: it had run out, and another run has it now."""
        now = self.wall()
        if self._until is None or self._until - now < self.ttl * 2 / 3:
            self.extend(self.ttl)

    def extend(self, ttl: timedelta) -> None:
        """From now on for ``ttl``, whatever is left."""
        self._until = acquire(
            self.store, self.stream, holder=self.holder, purpose=self.purpose, now=self.wall(), ttl=ttl
        ).until

    def release(self) -> None:
        release(self.store, self.stream, holder=self.holder)


def _kept(stored: Checkpoint, lease: Lease) -> Checkpoint:
    return replace(
        stored,
        position=Position(lease.until.isoformat(), (lease.purpose, lease.holder, lease.since.isoformat())),
        parked=(),
        saved_at=lease.since.isoformat(timespec="seconds"),
        saved_by=lease.holder,
    )


def lease_in(stored: Checkpoint) -> Lease | None:
    """The lease that is kept where a checkpoint has its generation; it may have run out."""
    if stored.position is None or len(stored.position.key) != 3:
        return None
    purpose, holder, since = stored.position.key
    return Lease(
        stored.stream, holder, purpose, datetime.fromisoformat(since), datetime.fromisoformat(stored.position.cursor)
    )
