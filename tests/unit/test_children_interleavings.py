"""Promises 1-4 for documents of several tables, and that the mistakes which others have made with them are caught."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from children_interleavings import ChildrenInterleavings, Shop, ShopSession, Snapshot
from interleavings import play, play_until_caught
from storms import tries

from airflow_reindex_provider.core.model import Batch, Key
from airflow_reindex_provider.testing.memory_source import MemorySourceSession


class WithoutLosses(Snapshot):
    """(a) the version is that of the row and of the children that are there."""

    def of_losses(self, key: Key) -> list[int]:
        return [0]


class ForgetsATable(Snapshot):
    """(b) no window looks for the documents of children."""

    def touched(self, start: int, end: int) -> set[Key]:
        return Snapshot.touched(replace(self, children={}), start, end)


class ForgetsLosses(Snapshot):
    """(c) no window looks for the documents that have lost something."""

    def touched(self, start: int, end: int) -> set[Key]:
        found = {key for key, row in self.rows.items() if start <= row.cursor_us < end}
        return found | {c.owner for c in self.children.values() if c.owner in self.rows and start <= c.cursor_us < end}


class PurgesAll(Snapshot):
    """(d) all that lies below the checkpoint is purged."""

    def is_needed(self, owner: Key, at: int) -> bool:
        return False


class TwoSnapshotsSession(ShopSession):
    """(e) which documents are read, and with which versions, is asked once, and what they are made of later."""

    def versions_of(self, batch: Batch) -> Snapshot:
        assert isinstance(self._shop, TwoSnapshots)
        return self._shop.seen.setdefault((batch.window, batch.changed), self._shop.now)


class TwoSnapshots(Shop):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seen: dict[object, Snapshot] = {}

    @contextmanager
    def open(self) -> Iterator[MemorySourceSession]:
        yield TwoSnapshotsSession(self)


def machine(shop: type[Shop] = Shop, snapshot: type[Snapshot] = Snapshot) -> type[ChildrenInterleavings]:
    class Planted(ChildrenInterleavings):
        shop_type = type("PlantedShop", (shop,), {"snapshot_type": snapshot})

    return Planted


@pytest.mark.storm
def test_the_promises_hold_for_documents_of_several_tables() -> None:
    """No order of events breaks promises 1 to 4, and no purge makes a sweep see a difference."""
    play(ChildrenInterleavings, tries(60, of=250))


@pytest.mark.parametrize(
    ("planted", "promise", "good_seed"),
    [
        pytest.param(machine(snapshot=WithoutLosses), "promise [12]", 3, id="version-without-losses"),
        pytest.param(machine(snapshot=ForgetsATable), "promise [124]|sweep", 3, id="window-forgets-a-table"),
        pytest.param(machine(snapshot=ForgetsLosses), "promise [124]|sweep", 3, id="window-forgets-losses"),
        pytest.param(machine(snapshot=PurgesAll), "sweep", 6, id="purge-of-all"),
        pytest.param(machine(shop=TwoSnapshots), "promise [12]", 2, id="two-snapshots"),
    ],
)
def test_a_planted_mistake_is_caught(planted: type[ChildrenInterleavings], promise: str, good_seed: int) -> None:
    """The machine that finds nothing in the rules finds each of these."""
    with pytest.raises(AssertionError, match=promise):
        play_until_caught(planted, good_seed=good_seed)
