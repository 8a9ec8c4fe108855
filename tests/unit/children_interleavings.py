"""Documents of several tables under every order of events: rows, children that come, change, move and go, and what left each row.

The source here has the structure of the real one and no SQL: a version is the greatest cursor value of what a document is made
of, a window finds its documents table by table, and cuts them in the order of their own rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from interleavings import KEYS, KIND, Interleavings, place_of

from airflow_reindex_provider.core.errors import TransientError
from airflow_reindex_provider.core.model import Batch, Chunk, Document, Format, Key, Position, Slices, Window
from airflow_reindex_provider.testing.memory import MemorySource, Transaction
from airflow_reindex_provider.testing.memory_source import MemorySourceSession, Row

CHILDREN = st.sampled_from("xyz")


@dataclass(frozen=True)
class Child:
    owner: Key | None
    cursor_us: int


@dataclass(frozen=True)
class Snapshot:
    """All tables at one moment. ``states`` counts the changes of each document, by which its contents are told."""

    rows: Mapping[Key, Row]
    children: Mapping[str, Child]
    losses: tuple[tuple[Key, int], ...]
    states: Mapping[Key, int]

    def version(self, key: Key) -> int:
        row = self.rows[key]
        return row.cursor_us if row.deleted else max(row.cursor_us, *self.of_children(key), *self.of_losses(key))

    def of_children(self, key: Key) -> list[int]:
        return [child.cursor_us for child in self.children.values() if child.owner == key] or [0]

    def of_losses(self, key: Key) -> list[int]:
        return [at for owner, at in self.losses if owner == key] or [0]

    def touched(self, start: int, end: int) -> set[Key]:
        """By each table in turn."""
        found = {key for key, row in self.rows.items() if start <= row.cursor_us < end}
        found |= {child.owner for child in self.children.values() if child.owner and start <= child.cursor_us < end}
        found |= {owner for owner, at in self.losses if start <= at < end}
        return found & self.rows.keys()

    def without_unneeded(self, below: int) -> Snapshot:
        """Purged: see ``sources/sql/parts.py``."""
        return replace(self, losses=tuple(loss for loss in self.losses if loss[1] >= below or self.is_needed(*loss)))

    def is_needed(self, owner: Key, at: int) -> bool:
        row = self.rows.get(owner)
        covered = at < max(self.of_losses(owner)) or at <= max(self.of_children(owner))
        return row is not None and not row.deleted and not covered


class ShopTransaction(Transaction):
    """Writes children too."""

    def __init__(self, source: Shop, started_us: int) -> None:
        super().__init__(source, started_us)
        self._shop = source
        self.children: dict[str, Child | None] = {}

    def put_child(self, name: str, owner: str | None) -> None:
        self._lock((f"child {name}",))
        self.children[name] = Child(None if owner is None else (owner,), self.started_us)

    def delete_child(self, name: str) -> None:
        self._lock((f"child {name}",))
        self.children[name] = None

    def commit(self) -> None:
        self._shop.apply(self, dict(self._written))
        super().rollback()


class Shop(MemorySource):
    """A table whose documents have children of another."""

    snapshot_type = Snapshot

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.now = self.snapshot_type({}, {}, (), {})
        self._shown: dict[Key, Row] = {}

    def begin(self) -> Transaction:
        transaction = ShopTransaction(self, self.now_us)
        self._open.append(transaction)
        return transaction

    def _lock(self, transaction: Transaction, key: Key) -> Row | None:
        super()._lock(transaction, key)
        return self.now.rows.get(key)

    def apply(self, transaction: ShopTransaction, written: Mapping[Key, Row]) -> None:
        """A child leaves its owner with the time of the transaction; whoever loses or gets one is another document."""
        before, children, losses = self.now, dict(self.now.children), list(self.now.losses)
        changed = set(written)
        for name, child in transaction.children.items():
            old = children.pop(name, None)
            if child is not None:
                children[name] = child
                changed.add(child.owner or ())
            if old is not None and old.owner is not None:
                changed.add(old.owner)
                if child is None or child.owner != old.owner:
                    losses.append((old.owner, transaction.started_us))
        rows = {**before.rows, **written}
        states = {key: before.states.get(key, -1) + (key in changed) for key in rows}
        self.now = replace(before, rows=rows, children=children, losses=tuple(losses), states=states)

    def rows(self) -> Mapping[Key, Row]:
        """Each document as a row: its version, and which of its states it is."""
        for key, row in self.now.rows.items():
            found = replace(row, cursor_us=self.now.version(key), values={"id": key[0], "state": self.now.states[key]})
            if self._shown.get(key) != found:
                self._shown[key] = found
        return dict(self._shown)

    @contextmanager
    def open(self) -> Iterator[MemorySourceSession]:
        yield ShopSession(self)


class ShopSession(MemorySourceSession):
    def __init__(self, source: Shop) -> None:
        super().__init__(source)
        self._shop = source

    def in_window(self, snapshot: Snapshot, window: Window) -> list[Key]:
        """The documents whose versions lie in it, in the order of their rows."""
        start, end = KIND.ordinal(window.start.cursor) if window.start else 0, KIND.ordinal(window.end.cursor)
        touched = snapshot.touched(start, end)
        found = [key for key in touched if start <= snapshot.version(key) < end]
        return sorted(found, key=lambda key: snapshot.rows[key].place)

    def slices(self, window: Window, *, batch_rows: int, max_slices: int, fresh: bool = False) -> Slices:
        rows = [self._shop.now.rows[key] for key in self.in_window(self._shop.now, window)]
        if not rows:
            return Slices((), 0, changed=window)
        count = min(max_slices, -(-len(rows) // batch_rows))
        cuts = [len(rows) * n // count for n in range(count + 1)]
        edges = [None, *(rows[cut].position for cut in cuts[1:-1]), window.end]
        parts = [(Window(edges[n], edges[n + 1] or window.end), cuts[n + 1] - cuts[n]) for n in range(count)]
        return Slices(tuple(parts), 0, changed=window)

    def read(self, batch: Batch, *, format: Format, fields: Sequence[str], chunk_rows: int) -> Iterator[Chunk]:
        snapshot = self.versions_of(batch)
        keys = self.in_window(snapshot, batch.changed or Window(None, Position(batch.window.end.cursor)))
        start, end = place_of(batch.window.start), place_of(batch.window.end)
        rows = [snapshot.rows[key] for key in keys if start <= snapshot.rows[key].place < end]
        if batch.keys:
            rows = [row for row in rows if row.key in set(batch.keys)]
        return iter(self.chunks(rows, snapshot, batch.window.end, chunk_rows))

    def versions_of(self, batch: Batch) -> Snapshot:
        return self._shop.now

    def chunks(self, rows: list[Row], snapshot: Snapshot, end: Position, chunk_rows: int) -> list[Chunk]:
        found = []
        for first in range(0, len(rows), chunk_rows):
            after = first + chunk_rows
            documents = [self.document(row.key, snapshot) for row in rows[first:after]]
            found.append(Chunk(rows[after].position if after < len(rows) else end, Format.ROWS, documents))
        return found

    def document(self, key: Key, snapshot: Snapshot) -> Document:
        now = self._shop.now
        fields = None if now.rows[key].deleted else {"id": key[0], "state": now.states[key]}
        return Document(key, snapshot.version(key), fields)


class ChildrenInterleavings(Interleavings):
    """The rules of a stream of rows, and what happens to children."""

    shop_type = Shop

    def make_source(self, margin_us: int) -> MemorySource:
        return self.shop_type(columns={"id": "text", "state": "integer"}, now_us=100, margin_us=margin_us)

    @property
    def shop(self) -> Shop:
        assert isinstance(self.source, Shop)
        return self.source

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 3), child=CHILDREN, owner=st.one_of(KEYS, st.none()), delete=st.booleans())
    def change_a_child(self, which: int, child: str, owner: str | None, delete: bool) -> None:
        transaction = self.open[which % len(self.open)]
        assert isinstance(transaction, ShopTransaction)
        try:
            if delete:
                transaction.delete_child(child)
            else:
                transaction.put_child(child, owner)
        except TransientError:
            pass

    @rule(child=CHILDREN, owner=st.one_of(KEYS, st.none()), us=st.integers(0, 3))
    def move_a_child_at_once(self, child: str, owner: str | None, us: int) -> None:
        self.source.now_us += us
        self.open.append(self.source.begin())
        self.change_a_child(len(self.open) - 1, child, owner, owner is None)
        self.commit(len(self.open) - 1)

    @rule()
    def purge(self) -> None:
        """Of what lies below the checkpoint, if there is one."""
        position = self.checkpoint().position
        if position is not None:
            self.shop.now = self.shop.now.without_unneeded(KIND.ordinal(position.cursor))

    @invariant()
    def a_sweep_sees_no_difference(self) -> None:
        """Below the checkpoint, index and source have the same versions."""
        checkpoint, generation = self.checkpoint(), self.generation()
        if checkpoint.position is None or generation is None:
            return
        parked = {p.key for p in checkpoint.parked}
        held = self.target.stored(generation)
        for key, row in self.source.rows().items():
            if row.place < place_of(checkpoint.position) and key not in parked and not row.deleted:
                assert held[key].version == row.cursor_us, f"sweep: {key} has {held[key].version}, not {row.cursor_us}"
