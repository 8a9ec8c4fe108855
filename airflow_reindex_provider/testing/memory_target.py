"""A target in memory: versioned, with generations behind a public name, and able to refuse and to break on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

from airflow_reindex_provider.core.errors import ConfigurationError, GenerationGoneError, TransientError
from airflow_reindex_provider.core.keys import Checksum, KeyRange, Listed, key_kinds, placing
from airflow_reindex_provider.core.model import (
    Chunk,
    Counts,
    Document,
    Format,
    Generation,
    Guarantee,
    Key,
    Rejection,
    Schema,
    Size,
    WriteResult,
)
from airflow_reindex_provider.testing.memory_listing import holds, memory_checksum


@dataclass(slots=True)
class _Index:
    schema: Schema
    stored: dict[Key, Document] = field(default_factory=dict)


@dataclass(slots=True)
class _Crash:
    chunks: int
    documents: int


class MemoryTarget:
    """An index in memory for one stream; conforms to ``Target``.

    A write or delete that is older than what is held changes nothing, and the version of a deleted document is kept, so
    that a late write cannot bring it back. One of the same version is taken, since a transform may have changed.

    :param name: the public name; generations are called ``<name>_<stamp>``.
    :param refuse: gives the reason why a document is refused, or None to take it; may be set at any time. Deletions
        are never refused.
    """

    guarantee = Guarantee.VERSIONED
    formats: tuple[Format, ...] = (Format.ROWS,)

    def __init__(
        self,
        *,
        name: str = "index",
        chunk_rows: int = 1000,
        refuse: Callable[[Document], str | None] | None = None,
    ) -> None:
        self.name = name
        self.chunk_rows = chunk_rows
        self.refuse = refuse
        self._owner: str | None = None
        self._live: str | None = None
        self._served: set[str] = set()
        self._indexes: dict[str, _Index] = {}
        self._crash: _Crash | None = None

    @property
    def label(self) -> str:
        return f"index {self.name!r} in memory"

    def generation_name(self, stamp: str) -> str:
        return f"{self.name}_{stamp}"

    @contextmanager
    def open(self, stream: str) -> Iterator[MemoryTargetSession]:
        yield MemoryTargetSession(self, stream)

    def documents(self, generation: str | None = None) -> Mapping[Key, Mapping[str, Any]]:
        """What a search finds, in the live generation unless another is named; nothing while none is live."""
        return {key: d.fields for key, d in self.stored(generation).items() if d.fields is not None}

    def stored(self, generation: str | None = None) -> Mapping[Key, Document]:
        """The same with the remembered deletions, which have no fields."""
        name = generation or self._live
        return dict(self._indexes[name].stored) if name else {}

    def crash_after(self, chunks: int | None, *, documents: int = 0) -> None:
        """Break once: take ``chunks`` more chunks, then ``documents`` of the next one, and answer with a
        ``TransientError`` instead of counts. With all of its documents, only the answer is lost. None calls it off."""
        self._crash = None if chunks is None else _Crash(chunks, documents)

    def apply(self, stored: dict[Key, Document], document: Document) -> Counts:
        """Take one document into a generation's store, or leave it for its age."""
        held = stored.get(document.key)
        if held is not None and document.version < held.version:
            return Counts(version_conflicts=1)
        stored[document.key] = document
        if held is None or held.fields is None:
            return Counts(noops=1) if document.fields is None else Counts(created=1)
        if document.fields is None:
            return Counts(deleted=1)
        return Counts(noops=1) if held == document else Counts(updated=1)

    def _write(self, index: _Index, documents: Sequence[Document]) -> WriteResult:
        crash = self._crash
        if crash is not None and crash.chunks == 0:
            self._crash = None
            for document in documents[: crash.documents]:
                self._take(index, document)
            raise TransientError(f"{self.label} broke off, as it was told to.")
        if crash is not None:
            crash.chunks -= 1
        counts, rejected = Counts(), []
        for document in documents:
            taken, reason = self._take(index, document)
            counts += taken
            if reason is not None:
                rejected.append(Rejection(document.key, reason))
        return WriteResult(counts, tuple(rejected))

    def _take(self, index: _Index, document: Document) -> tuple[Counts, str | None]:
        reason = self.refuse(document) if self.refuse and document.fields is not None else None
        if reason is not None:
            return Counts(failures=1), reason
        return self.apply(index.stored, document), None


class MemoryTargetSession:
    """Conforms to ``TargetSession``."""

    def __init__(self, target: MemoryTarget, stream: str) -> None:
        self._target = target
        self._stream = stream

    def generations(self) -> Sequence[Generation]:
        target = self._target
        if target._owner not in (None, self._stream):
            raise ConfigurationError(
                f"The {target.label} belongs to stream {target._owner!r} and is left alone: give stream"
                f" {self._stream!r} another index."
            )
        return [Generation(name, name == target._live, name in target._served) for name in target._indexes]

    def create_first(self, name: str, schema: Schema) -> str:
        there = self.generations()
        if there:
            return there[0].name
        self._target._owner = self._stream
        self._target._indexes[name] = _Index(schema)
        return name

    def fields(self, generation: str, schema: Schema) -> Sequence[str]:
        offered = {f.name: f.type for f in schema.fields}
        for held in self._index(generation).schema.fields:
            if offered.get(held.name) != held.type:
                raise ConfigurationError(
                    f"Generation {generation!r} holds column {held.name!r} as {held.type}, but the source has"
                    f" {offered.get(held.name, 'no such column')}: rebuild the index, or bring the column back."
                )
        return [f.name for f in self._index(generation).schema.fields]

    @contextmanager
    def writer(self, generation: str, schema: Schema, format: Format) -> Iterator[MemoryWriter]:
        if format is not Format.ROWS:
            raise ConfigurationError(f"{self._target.label} takes {Format.ROWS} only, not {format}.")
        yield MemoryWriter(self._target, partial(self._index, generation))

    def promote(self, generation: str, *, carry: Callable[[str], None] | None = None) -> None:
        self._index(generation)
        live = self._target._live
        if carry is not None and live is not None and live != generation:
            carry(live)
        self._target._live = generation
        self._target._served.add(generation)

    def carry_over(self, keys: Sequence[Key], schema: Schema, *, from_generation: str, to_generation: str) -> int:
        here, there = self._index(from_generation), self._index(to_generation)
        if here.schema.primary_key != there.schema.primary_key:
            return 0
        names = {f.name for f in there.schema.fields}
        carried = 0
        for key in keys:
            document, held = here.stored.get(key), there.stored.get(key)
            if document is None or document.fields is None:
                continue
            if held is None or (held.fields is None and held.version < document.version):
                fields = {name: value for name, value in document.fields.items() if name in names}
                _, refusal = self._target._take(there, replace(document, fields=fields))
                carried += refusal is None
        return carried

    def create(self, name: str, schema: Schema) -> None:
        self.generations()
        self._target._owner = self._stream
        self._target._indexes.setdefault(name, _Index(schema))

    def drop(self, generation: str) -> None:
        if any(g.live and g.name == generation for g in self.generations()):
            raise ConfigurationError(f"Generation {generation!r} is the live one of {self._target.label}: it stays.")
        self._target._indexes.pop(generation, None)

    def hand_over(self, stream: str) -> None:
        self.generations()
        self._target._owner = self._stream = stream

    def remove(self) -> None:
        self.generations()
        self._target._live = None
        self._target._indexes.clear()
        self._target._owner = None

    def count(self, generation: str) -> int:
        return sum(d.fields is not None for d in self._index(generation).stored.values())

    def sizes(self) -> Mapping[str, Size]:
        return {g.name: Size(self.count(g.name), False, None) for g in self.generations()}

    def differing(self, generation: str, documents: Sequence[Document], schema: Schema) -> Sequence[tuple[Key, str]]:
        stored = self._index(generation).stored
        found = []
        for document in documents:
            held = stored.get(document.key)
            if held is None or held.version != document.version or held.fields == document.fields:
                continue
            ours, theirs = document.fields or {}, held.fields or {}
            names = (*ours, *theirs)
            found.append((document.key, next(n for n in names if n not in theirs or theirs[n] != ours.get(n))))
        return found

    def keys(self, generation: str, within: KeyRange, schema: Schema) -> Iterator[Sequence[Listed]]:
        listed = self._listed(generation, within, schema)
        return (listed[n : n + 2] for n in range(0, len(listed), 2))

    def checksum(self, generation: str, within: KeyRange, schema: Schema, *, below: int) -> Checksum | None:
        listed = self._listed(generation, within, schema)
        return memory_checksum(e for e in listed if e.version is not None and e.version < below)

    def _listed(self, generation: str, within: KeyRange, schema: Schema) -> list[Listed]:
        place_of = placing(key_kinds(schema))
        stored = self._index(generation).stored.values()
        found = [Listed(d.key, d.version, d.fields is None) for d in stored if holds(within, d.key, place_of)]
        return sorted(found, key=lambda entry: place_of(entry.key))

    def _index(self, generation: str) -> _Index:
        self.generations()
        index = self._target._indexes.get(generation)
        if index is None:
            raise GenerationGoneError(f"{self._target.label} has no generation {generation!r}: plan the run anew.")
        return index


class MemoryWriter:
    """Conforms to ``Writer``."""

    def __init__(self, target: MemoryTarget, index: Callable[[], _Index]) -> None:
        self._target = target
        self._index = index
        index()

    def write(self, chunk: Chunk) -> WriteResult:
        return self._target._write(self._index(), cast("Sequence[Document]", chunk.payload))
