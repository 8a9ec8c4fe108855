"""The machine of rebuilds and sweeps, with passages: documents are embedded by a model that is out of order now and then, and
each generation is looked at whole after each step."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, cast
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from passages_under_test import CountingEmbedder, vector_of
from test_rebuild_interleavings import Rebuilds

from airflow_reindex_provider.core.embedding.embed import Embed
from airflow_reindex_provider.core.embedding.embedder import Vector
from airflow_reindex_provider.core.embedding.passages import passages
from airflow_reindex_provider.core.embedding.requests import Requests
from airflow_reindex_provider.core.errors import VectorsGoneError
from airflow_reindex_provider.core.model import (
    Chunk,
    Counts,
    Document,
    Format,
    Key,
    Recalled,
    Schema,
    WriteResult,
)
from airflow_reindex_provider.core.running.transforming import transformed
from airflow_reindex_provider.testing.memory import MemoryTarget, MemoryTargetSession, MemoryWriter
from airflow_reindex_provider.testing.memory_target import _Index

Held = dict[Key, Mapping[bytes, Vector]]


class PassageTarget(MemoryTarget):
    """One whose documents have passages, of one recipe.

    :ivar vectors: of each document by the hash of a passage, by generation. :ivar writing: the generation that is written to.
    :ivar given: vectors for what is written next."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.vectors: dict[str, Held] = {}
        self.writing = ""
        self.given: Mapping[bytes, Vector] = {}

    def with_passages(self, recipe: object) -> PassageTarget:
        return self

    @contextmanager
    def open(self, stream: str) -> Iterator[PassageSession]:
        yield PassageSession(self, stream)

    def held(self, generation: str) -> Held:
        return self.vectors.setdefault(generation, {})

    def lent(self, generation: str, hashes: Collection[bytes]) -> Mapping[bytes, Vector]:
        """Of those that the generation holds, or the live one."""
        found: dict[bytes, Vector] = {}
        for name in dict.fromkeys([generation, self._live or generation]):
            for of_document in self.held(name).values():
                found |= {hash: vector for hash, vector in of_document.items() if hash in hashes}
        return found

    def _take(self, index: _Index, document: Document) -> tuple[Counts, str | None]:
        taken, refusal = super()._take(index, document)
        if refusal is None and not taken.version_conflicts:
            self.put_passages(document)
        return taken, refusal

    def put_passages(self, document: Document) -> None:
        self.held(self.writing)[document.key] = {p.hash: self.given[p.hash] for p in document.passages}


class PassageSession(MemoryTargetSession):
    """See :class:`~airflow_reindex_provider.core.embedding.target.PassageTarget`."""

    _target: PassageTarget

    @contextmanager
    def writer(self, generation: str, schema: Schema, format: Format) -> Iterator[PassageWriter]:
        yield PassageWriter(self._target, partial(self._index, generation), generation)

    def recall(self, generation: str, documents: Sequence[Document], schema: Schema) -> Recalled:
        stored = self._index(generation).stored
        overtaken = {d.key for d in documents if d.key in stored and stored[d.key].version > d.version}
        hashes = {p.hash for d in documents if d.key not in overtaken for p in d.passages}
        return Recalled(known=frozenset(self._target.lent(generation, hashes)), overtaken=frozenset(overtaken))

    def carry_over(self, keys: Sequence[Key], schema: Schema, *, from_generation: str, to_generation: str) -> int:
        target = self._target
        target.writing = to_generation
        target.given = {h: v for of_document in target.held(from_generation).values() for h, v in of_document.items()}
        return super().carry_over(keys, schema, from_generation=from_generation, to_generation=to_generation)


class PassageWriter(MemoryWriter):
    def __init__(self, target: PassageTarget, index: Any, generation: str) -> None:
        super().__init__(target, index)
        self._passages = target
        self._generation = generation

    def write(self, chunk: Chunk) -> WriteResult:
        stored = self._index().stored
        documents = cast("Sequence[Document]", chunk.payload)
        taken = [d for d in documents if d.key not in stored or stored[d.key].version <= d.version]
        needed = {p.hash for document in taken for p in document.passages}
        vectors = {**self._passages.lent(self._generation, needed), **chunk.vectors}
        if gone := needed - vectors.keys():
            raise VectorsGoneError(frozenset(gone))
        self._passages.writing, self._passages.given = self._generation, vectors
        return super().write(chunk)


def text_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Documents of one to three passages, some of which others have too."""
    state = row["state"]
    words = [f"state {state}", f"every third {state % 3}", f"every fourth {state % 4}"]
    return {**row, "text": "\n\n".join(words[: 1 + state % 3])}


class Passages(Rebuilds):
    """More of what may happen at any time."""

    target_class = PassageTarget
    transform = staticmethod(text_of)

    def make_target(self) -> MemoryTarget:
        self.model = CountingEmbedder(texts_a_request=2)
        self.embed = Embed(("text",), model=self.model, splitter=paragraphs, concurrency=1)
        self.hashed = self.model.identity.hasher()
        return self.target_class(chunk_rows=2, refuse=lambda d: "refused" if d.key in self.refused else None)

    def with_passages(self, chunk: Chunk) -> Chunk:
        """As a process holds it that has embedded it and is late to write."""
        made = transformed(chunk, self.transform)
        documents = [replace(d, passages=self.passages_of(d.fields)) for d in cast("Sequence[Document]", made.payload)]
        vectors = {p.hash: vector_of(p.text, 4) for d in documents for p in d.passages}
        return replace(made, payload=documents, vectors=vectors)

    def passages_of(self, fields: Mapping[str, Any] | None) -> Any:
        return passages(fields or {}, self.embed.fields, split=self.embed.split, hashed=self.hashed)

    @precondition(lambda self: any(run.plan.batches for run in self.runs))
    @rule(which=st.integers(0, 50), number=st.integers(0, 4), answers=st.integers(0, 4), notes=st.booleans())
    def the_model_breaks(self, which: int, number: int, answers: int, notes: bool) -> None:
        """After so many texts of a batch, perhaps in the middle of a document."""
        run = self.some_run(which)
        self.model.fails_after = len(self.model.texts) + answers
        with mock.patch.dict(Requests.__init__.__kwdefaults__, first_delay_s=0.0):
            self.work(run, number % len(run.plan.batches), notes=notes)
        self.model.fails_after = None

    @invariant()
    def each_document_has_its_own_passages(self) -> None:
        """Whatever generation it is in: all that its text makes, with their vectors, and no other."""
        target = cast("PassageTarget", self.target)
        for generation in target._indexes:
            held = target.held(generation)
            for key, document in target.stored(generation).items():
                wanted = {p.hash: vector_of(p.text, 4) for p in self.passages_of(document.fields)}
                found = held.get(key, {})
                assert found == wanted, f"passages: those of {key} in {generation} are not what its text makes"
                assert [p.hash for p in document.passages] == list(dict.fromkeys(wanted)), f"passages: order of {key}"


def paragraphs(text: str) -> list[str]:
    return text.split("\n\n")
