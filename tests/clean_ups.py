"""Clean-ups that go on all the while, beside whatever a storm does to a stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from airflow_reindex_provider.control.cleaning import Cleaning, drop_orphans, find_orphans
from airflow_reindex_provider.core.cleaning.records import OrphanKind, Rules
from airflow_reindex_provider.core.errors import StreamBusyError
from airflow_reindex_provider.core.leases import Keeper
from airflow_reindex_provider.core.protocols import CheckpointStore
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.testing.runs import Runner


def stream_of(run: Runner) -> Stream:
    return Stream(
        name=run.stream,
        source=run.source,
        target=run.target,
        checkpoint=run.store,
        transform=run.transform,
        embed=run.embed,
    )


@dataclass
class CleanUps:
    """One after the other. All that nothing needs is old enough, recorded deletions too.

    :ivar retain: as in ``Rules``. :ivar beside: other streams that are in use. :ivar dropped: names of what has gone, recorded
        deletions apart. :ivar reasons: why. :ivar purged: how many of these deletions. :ivar done: how many clean-ups.
    :ivar busy: how many have met somebody else's lease."""

    stream: Stream
    retain: int | None = None
    beside: Sequence[Stream] = ()
    dropped: list[str] = field(default_factory=list)
    reasons: set[str] = field(default_factory=set)
    purged: int = 0
    done: int = 0
    busy: int = 0

    def run(self, over: threading.Event, *, pause_s: float = 0.1) -> None:
        while not over.wait(pause_s):
            self.once()

    def once(self) -> None:
        """:raises AssertionError: something could not be looked at, or did not go."""
        rules = Rules(self.retain, timedelta(0))
        cleaning = Cleaning(streams=[self.stream, *self.beside], rules=rules, tombstones_older_than=timedelta(0))
        found = find_orphans(cleaning)
        done = drop_orphans(cleaning, found.orphans, holder="a clean-up")
        for orphan in done.dropped:
            if orphan.kind is OrphanKind.TOMBSTONES:
                self.purged += orphan.count or 0
            else:
                self.dropped.append(orphan.name)
                self.reasons.add(orphan.reason)
        assert not found.troubles | done.troubles
        self.busy += bool(done.busy)
        self.done += 1

    def wait_for_a_whole_one(self) -> None:
        """That has begun after this."""
        enough, deadline = self.done + 2, time.monotonic() + 60
        while self.done < enough:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@contextmanager
def leased(store: CheckpointStore, stream: str, purpose: str = "rebuild") -> Iterator[None]:
    """Under the stream's lease, as the tasks of a rebuild, a rollback and a sweep work; a clean-up that has it is waited for."""
    keeper = Keeper(store, stream, holder=f"a {purpose}", purpose=purpose)
    deadline = time.monotonic() + 60
    while True:
        try:
            keeper.keep()
            break
        except StreamBusyError:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    try:
        yield
    finally:
        keeper.release()
