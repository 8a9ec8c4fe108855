"""An open LanceDB target: its generations, what each holds, and the swap."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from airflow_reindex_provider.core.errors import GenerationGoneError, ReindexError
from airflow_reindex_provider.core.keys import KeyRange, Listed
from airflow_reindex_provider.core.model import Document, Finding, Format, Key, Marked, Recalled, Schema, Size
from airflow_reindex_provider.targets.lance import belongings, checking
from airflow_reindex_provider.targets.lance.indexing import build_indexes, keep_tidy
from airflow_reindex_provider.targets.lance.layout import DELETED, Layout, layout_for
from airflow_reindex_provider.targets.lance.listing import pages
from airflow_reindex_provider.targets.lance.pointer import Made, Pointer, State
from airflow_reindex_provider.targets.lance.reading import carried, differing
from airflow_reindex_provider.targets.lance.recalling import recalled
from airflow_reindex_provider.targets.lance.rows import Rows
from airflow_reindex_provider.targets.lance.storage import Storage
from airflow_reindex_provider.targets.lance.types import arrow_type
from airflow_reindex_provider.targets.lance.writer import LanceWriter
from airflow_reindex_provider.targets.registered import RegisteredSession

if TYPE_CHECKING:
    from lancedb.table import Table

    from airflow_reindex_provider.targets.lance.definition import LanceDefinition

log = logging.getLogger(__name__)

_THERE = f"NOT {DELETED}"


class LanceTargetSession(RegisteredSession[State]):
    """See :class:`~airflow_reindex_provider.core.protocols.RebuildingTarget`, ``ListingTarget`` and ``MarkingTarget``.

    The table of a generation has a name that nobody else can come upon: LanceDB does not refuse to make one table twice."""

    _target: LanceDefinition
    _register: Pointer
    _engine_type = staticmethod(arrow_type)

    def __init__(self, target: LanceDefinition, stream: str, storage: Storage) -> None:
        super().__init__(target, stream, Pointer(storage, target.index))
        self._storage = storage

    # -- generations

    def _make(self, name: str, schema: Schema, *, is_there: Callable[[State], str | None]) -> str:
        if found := is_there(self._state()):
            return found
        table = f"{name}_{uuid4().hex[:8]}"
        layout = layout_for(self._target, schema)
        with self._storage.explained():
            self._storage.database.create_table(table, schema=layout.schema(self._stream))

        def decide(state: State) -> State | None:
            self._require_ours(state)
            if is_there(state):
                return None
            return replace(state.having(name, Made(table)), stream=self._stream)

        try:
            made = self._register.change(decide)
        except BaseException:
            self._storage.drop(table)
            raise
        if not made:
            self._storage.drop(table)
            return is_there(self._state()) or name
        log.info("Made generation %s of %s.", name, self._target.label)
        return name

    def promote(self, generation: str, *, carry: Callable[[str], None] | None = None) -> None:
        """Writes to the live generation do not wait meanwhile: LanceDB cannot make them."""
        made = self._made(generation)
        try:
            self._promote(generation, made, carry)
        except GenerationGoneError:
            # Files that were written here while others were dropped.
            self._storage.drop(made.table)
            raise

    def _promote(self, generation: str, made: Made, carry: Callable[[str], None] | None) -> None:
        if self._state().live == generation:
            return
        if not made.indexed:
            try:
                with self._storage.explained():
                    build_indexes(self._table(generation), self._target)
            except ReindexError:
                # Whoever drops a generation takes its files away under those who work on it.
                self._table(generation)
                raise

        def decide(state: State) -> State | None:
            self._require_ours(state)
            if generation not in state.generations:
                raise self._gone(generation)
            if state.live == generation:
                return None
            if carry is not None and state.live is not None:
                carry(state.live)
            served = replace(state.generations[generation], served=True, indexed=True)
            return replace(state.having(generation, served), live=generation)

        if self._register.change(decide):
            log.info("The pointer %s now names %s.", self._target.index, generation)

    def carry_over(self, keys: Sequence[Key], schema: Schema, *, from_generation: str, to_generation: str) -> int:
        here, there = self._table(from_generation), self._table(to_generation)
        with self._storage.explained():
            return carried(keys, here, there)

    def drop(self, generation: str) -> None:
        dropped: list[str] = []

        def decide(state: State) -> State | None:
            if (after := self._without(generation, state)) is not None:
                dropped[:] = [state.generations[generation].table]
            return after

        # First of all nobody finds it any more; a table that a kill leaves then is nobody's, and a clean-up finds it.
        if self._register.change(decide):
            self._storage.drop(dropped[0])
            log.info("Dropped generation %s of %s.", generation, self._target.label)

    def remove(self) -> None:
        generations = self._state().generations
        self._register.remove()
        for made in generations.values():
            self._storage.drop(made.table)
        log.info("Removed %s with %d generations.", self._target.label, len(generations))

    def marked(self) -> Sequence[Marked]:
        return belongings.listed(self._storage)

    def unmake(self, marked: Marked) -> bool:
        return belongings.unmade(self._storage, marked)

    def count(self, generation: str) -> int:
        table = self._table(generation)
        with self._storage.explained():
            return int(table.count_rows(_THERE))

    def sizes(self) -> Mapping[str, Size]:
        found = {}
        for name in self._state().generations:
            table = self._table(name)
            with self._storage.explained():
                size = int(cast("Any", table.stats())["total_bytes"])
                found[name] = Size(table.count_rows(_THERE), False, size)
        return found

    def check(self) -> Iterator[Finding]:
        yield checking.place(self._storage)
        yield from checking.rights(self._storage)
        needed = [size.bytes or 0 for size in self.sizes().values()]
        yield from checking.room(self._storage, needed=max(needed, default=0))

    def differing(self, generation: str, documents: Sequence[Document], schema: Schema) -> Sequence[tuple[Key, str]]:
        table = self._table(generation)
        with self._storage.explained():
            return differing(documents, table)

    # -- writing

    @contextmanager
    def writer(self, generation: str, schema: Schema, format: Format) -> Iterator[LanceWriter]:
        self.fields(generation, schema)
        rows = Rows(self._table(generation).schema)
        yield LanceWriter(lambda: self._table(generation), rows, self._storage.explained, self._recalling(generation))
        keep_tidy(self._table(generation), self._target, self._storage.explained)

    def _recalled(self, generation: str, documents: Sequence[Document], given: Collection[bytes]) -> Recalled:
        tables, live = [self._table(generation)], self._state().live
        if live is not None and live != generation:
            other = self._table(live)
            if Layout.of(other.schema).lends_to(self._target.passages):
                tables.append(other)
        with self._storage.explained():
            return recalled(documents, tables, Layout.of(tables[0].schema).key_texts, given=given)

    # -- keys, for a sweep

    def keys(self, generation: str, within: KeyRange, schema: Schema) -> Iterator[Sequence[Listed]]:
        table = self._table(generation)
        with self._storage.explained():
            yield from pages(table, Layout.of(table.schema).key_texts, within)

    # -- pieces

    def _made(self, generation: str) -> Made:
        made = self._state().generations.get(generation)
        if made is None:
            raise self._gone(generation)
        return made

    def _layout(self, generation: str) -> Layout:
        return Layout.of(self._table(generation).schema)

    def _table(self, generation: str) -> Table:
        table = self._storage.table(self._made(generation).table)
        if table is None:
            raise self._gone(generation)
        return table
