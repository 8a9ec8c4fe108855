"""An open Weaviate target: its generations, what each holds, and the swap."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from airflow_reindex_provider.core.errors import GenerationGoneError
from airflow_reindex_provider.core.keys import KeyRange, Listed
from airflow_reindex_provider.core.model import Document, Finding, Format, Key, Marked, Recalled, Schema, Size
from airflow_reindex_provider.targets.registered import RegisteredSession
from airflow_reindex_provider.targets.weaviate import belongings, checking
from airflow_reindex_provider.targets.weaviate.layout import DELETED, Layout, layout_for
from airflow_reindex_provider.targets.weaviate.listing import pages
from airflow_reindex_provider.targets.weaviate.reading import carried, differing, recalled
from airflow_reindex_provider.targets.weaviate.register import Made, Register, State, mark_of
from airflow_reindex_provider.targets.weaviate.rows import Rows
from airflow_reindex_provider.targets.weaviate.sending import Sending
from airflow_reindex_provider.targets.weaviate.server import ExistsError, Server
from airflow_reindex_provider.targets.weaviate.types import weaviate_type
from airflow_reindex_provider.targets.weaviate.writer import WeaviateWriter

if TYPE_CHECKING:
    from airflow_reindex_provider.targets.weaviate.definition import WeaviateDefinition

log = logging.getLogger(__name__)


class WeaviateTargetSession(RegisteredSession[State]):
    """See :class:`~airflow_reindex_provider.core.protocols.RebuildingTarget`, ``ListingTarget`` and ``MarkingTarget``."""

    _target: WeaviateDefinition
    _register: Register
    _engine_type = staticmethod(weaviate_type)

    def __init__(self, target: WeaviateDefinition, stream: str, server: Server) -> None:
        super().__init__(target, stream, Register(server, target))
        self._server = server

    # -- generations

    def _make(self, name: str, schema: Schema, *, is_there: Callable[[State], str | None]) -> str:
        if found := is_there(self._state()):
            return found
        layout = layout_for(self._target, schema)

        def decide(state: State) -> State | None:
            self._require_ours(state)
            return None if is_there(state) else replace(state.having(name, Made()), stream=self._stream)

        def make() -> None:
            config = layout.config(name)
            try:
                self._server.make(config)
            except ExistsError:
                if not mark_of(self._server.description(name) or ""):
                    raise
                # Somebody was killed before it came into the register.
                self._server.drop(name)
                self._server.make(config)

        if not self._register.change(decide, make):
            return is_there(self._state()) or name
        log.info("Made generation %s of %s.", name, self._target.label)
        return name

    def promote(self, generation: str, *, carry: Callable[[str], None] | None = None) -> None:
        """Writes to the live generation do not wait meanwhile: Weaviate cannot make them."""
        self._layout(generation)
        while (live := self._state().live) != generation:
            if carry is not None and live is not None:
                carry(live)
            if self._register.change(partial(self._swapped, generation, live)):
                log.info("The alias %s now points at %s.", self._target.index, generation)

    def _swapped(self, generation: str, before: str | None, state: State) -> State | None:
        self._require_ours(state)
        if generation not in state.generations:
            raise self._gone(generation)
        if state.live != before:
            return None
        return replace(state.having(generation, Made(served=True)), live=generation)

    def carry_over(self, keys: Sequence[Key], schema: Schema, *, from_generation: str, to_generation: str) -> int:
        here, there = self._layout(from_generation), self._layout(to_generation)
        sending = Sending(self._server, to_generation, self._target.register)
        count = 0
        for rows in carried(keys, self._server, from_generation, here, there):
            fared = sending.send(rows, [], fresh_only=True)
            count += fared.created + fared.updated
        return count

    def drop(self, generation: str) -> None:
        if self._register.change(partial(self._without, generation), lambda: self._register.drop(generation)):
            log.info("Dropped generation %s of %s.", generation, self._target.label)

    def remove(self) -> None:
        self._state()
        self._register.remove()
        log.info("Removed %s.", self._target.label)

    def marked(self) -> Sequence[Marked]:
        return belongings.listed(self._server)

    def unmake(self, marked: Marked) -> bool:
        return belongings.unmade(self._server, self._target, marked)

    def count(self, generation: str) -> int:
        from weaviate.classes.query import Filter

        self._layout(generation)
        with self._server.explained():
            found = self._server.collection(generation).aggregate.over_all(
                total_count=True, filters=Filter.by_property(DELETED).equal(False)
            )
        return found.total_count or 0

    def sizes(self) -> Mapping[str, Size]:
        """How many bytes they take Weaviate does not tell."""
        found = {}
        for name in self._state().generations:
            with suppress(GenerationGoneError):
                # Half dropped, by a task that was killed: the next one drops the rest.
                found[name] = Size(self.count(name), False, None)
        return found

    def check(self) -> Iterator[Finding]:
        yield checking.engine(self._server)
        yield from checking.health(self._server)
        yield checking.rights(self._server)

    def differing(self, generation: str, documents: Sequence[Document], schema: Schema) -> Sequence[tuple[Key, str]]:
        return differing(documents, self._server, generation, self._layout(generation))

    # -- writing

    @contextmanager
    def writer(self, generation: str, schema: Schema, format: Format) -> Iterator[WeaviateWriter]:
        self.fields(generation, schema)
        sending = Sending(self._server, generation, self._target.register)
        rows = Rows(self._layout(generation))
        yield WeaviateWriter(sending, rows, lambda: self._layout(generation), self._recalling(generation))

    def _recalled(self, generation: str, documents: Sequence[Document], given: Collection[bytes]) -> Recalled:
        layout, recipe, live = self._layout(generation), self._target.passages, self._state().live
        lenders = [generation]
        if live is not None and live != generation and recipe and self._layout(live).lends_to(recipe):
            lenders.append(live)
        return recalled(documents, self._server, lenders, layout, given=given)

    # -- keys, for a sweep

    def keys(self, generation: str, within: KeyRange, schema: Schema) -> Iterator[Sequence[Listed]]:
        yield from pages(self._server, generation, self._layout(generation), within)

    # -- pieces

    def _layout(self, generation: str) -> Layout:
        if generation not in self._state().generations:
            raise self._gone(generation)
        description = self._server.description(generation)
        if description is None:
            raise self._gone(generation)
        return Layout.of(description)
