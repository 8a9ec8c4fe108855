"""One run at a time rebuilds or sweeps a stream, and a dead one blocks nobody for longer than its lease."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_reindex_provider import AssetCheckpoint, TableCheckpoint, VariableCheckpoint
from airflow_reindex_provider.core.errors import CheckpointConflictError, StreamBusyError
from airflow_reindex_provider.core.groups import GROUPS
from airflow_reindex_provider.core.leases import LEASE, Keeper, acquire, current, release
from airflow_reindex_provider.core.model import Checkpoint
from airflow_reindex_provider.core.protocols import CheckpointStore
from airflow_reindex_provider.testing.memory import MemoryCheckpoint

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


def taken(store: MemoryCheckpoint, holder: str, *, now: datetime = NOON, ttl: timedelta = QUARTER) -> Any:
    return acquire(store, "products", holder=holder, purpose="rebuild", now=now, ttl=ttl)


def test_a_second_run_is_refused_by_name() -> None:
    """The error says who is in the way, what it does, since when and until when; streams do not hinder each other."""
    store = MemoryCheckpoint()
    taken(store, "rebuild_products run 1")
    with pytest.raises(
        StreamBusyError, match=r"rebuild of run rebuild_products run 1, since 2026-11-24 12:00:00\+00:00"
    ):
        taken(store, "sweep_products run 2", now=NOON + timedelta(minutes=14))
    with pytest.raises(StreamBusyError, match=r"until 2026-11-24 12:15:00"):
        taken(store, "sweep_products run 2")
    acquire(store, "reviews", holder="x", purpose="sweep", now=NOON)


def test_a_lease_runs_out() -> None:
    """The moment it ends it is free; the run that had it is refused in its turn."""
    store = MemoryCheckpoint()
    taken(store, "one")
    taken(store, "two", now=NOON + QUARTER)
    with pytest.raises(StreamBusyError, match="of run two"):
        taken(store, "one", now=NOON + QUARTER)


def test_the_same_run_renews_and_never_shortens() -> None:
    """Each task of a run takes the lease again: the beginning stays, the end moves on, and a long wait stays long."""
    store = MemoryCheckpoint()
    taken(store, "one")
    later = taken(store, "one", now=NOON + timedelta(minutes=10))
    assert (later.since, later.until) == (NOON, NOON + timedelta(minutes=25))
    taken(store, "one", now=NOON, ttl=timedelta(days=1))
    assert taken(store, "one", now=NOON).until == NOON + timedelta(days=1)


def test_release_is_for_the_holder_alone() -> None:
    """A run whose lease ran out does not give back what another one has by now."""
    store = MemoryCheckpoint()
    taken(store, "one")
    taken(store, "two", now=NOON + QUARTER)
    release(store, "products", holder="one")
    held = current(store, "products")
    assert held is not None
    assert held.holder == "two"
    release(store, "products", holder="two")
    release(store, "products", holder="two")
    assert current(store, "products") is None
    taken(store, "three")


def test_of_many_at_once_one_wins() -> None:
    """Where the store compares and sets, exactly one of the runs that start together gets the lease."""
    store = MemoryCheckpoint()

    def attempt(number: int) -> bool:
        try:
            taken(store, f"run {number}")
        except StreamBusyError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(attempt, range(64))) == 1


class Raced(MemoryCheckpoint):
    """Another run saves between the look and the save."""

    def save(self, checkpoint: Checkpoint) -> Checkpoint:
        self.save = super().save  # type: ignore[method-assign]  # once
        taken(self, "first")
        raise CheckpointConflictError("another one was first")


def test_a_lost_race_is_looked_at_again() -> None:
    """A conflict at the save is no answer; the next look says who was first."""
    with pytest.raises(StreamBusyError, match="of run first"):
        taken(Raced(), "second")


def test_a_keeper_renews_in_time() -> None:
    """While work goes on the lease is renewed, seldom and long before its end; after an end that was missed it may be
    another's, and the work stops."""
    store, clock = MemoryCheckpoint(), [NOON]
    keeper = Keeper(store, "products", holder="one", purpose="rebuild", ttl=QUARTER, wall=lambda: clock[0])
    versions = set()
    for _ in range(60):
        keeper.keep()
        versions.add(store.load("products", LEASE).version)
        clock[0] += timedelta(minutes=1)
        with pytest.raises(StreamBusyError):
            taken(store, "two", now=clock[0])
    assert len(versions) == 10
    clock[0] += timedelta(hours=1)
    taken(store, "two", now=clock[0])
    with pytest.raises(StreamBusyError, match="of run two"):
        keeper.keep()
    keeper.release()
    assert current(store, "products") is not None


@pytest.mark.parametrize("store", [VariableCheckpoint(), TableCheckpoint("search"), AssetCheckpoint("kept")])
def test_where_a_lease_is(store: CheckpointStore) -> None:
    """A person is told to end the lease of a dead run, not to read from the first row on."""
    assert "lease of stream 'products'" in store.where("products", LEASE)
    assert "delete it where the run that it names is dead" in store.where("products", LEASE)
    assert "list of groups of stream 'products'" in store.where("products", GROUPS)
    assert "read from the first row on" in store.where("products", "products_20260101t000000")
