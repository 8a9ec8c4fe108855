"""A batch's texts on their way to vectors: reading goes on, and what is embedded is written, while the model works.

chunk --> split, hash, ask the target --> texts it does not hold --> cache, requests (threads) --> documents, written
          in the task's own thread, for the chunk after the one that is being written          in units, in their order,
                                                                                               in a thread of their own
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

from airflow_reindex_provider.core.embedding.embed import Embed
from airflow_reindex_provider.core.embedding.embedder import Vector
from airflow_reindex_provider.core.embedding.passages import Passage, passages
from airflow_reindex_provider.core.embedding.target import PassageTarget
from airflow_reindex_provider.core.errors import TextRefusedError, TransientError, VectorsGoneError
from airflow_reindex_provider.core.model import (
    Chunk,
    Counts,
    Document,
    PassageCounts,
    Rejection,
    Schema,
    WriteResult,
)
from airflow_reindex_provider.core.observing import Observer, Traffic, Unobserved
from airflow_reindex_provider.core.protocols import Writer
from airflow_reindex_provider.core.running.asking import Asked, Asking

_UNIT_BYTES = 4 * 1024 * 1024
"""Of vectors that are written together, and may be lost together; a document is never cut."""
_AHEAD_BYTES = 16 * 1024 * 1024
"""Of vectors that have come, or are asked for, and are not written."""
_LOOK_UP_S = 0.5
_TRIES = 5
"""How often a unit is written whose vectors others take away meanwhile."""


@dataclass(slots=True)
class _Unit:
    """Some documents of a chunk, and by hash the texts whose vectors the target does not have.
    :ivar asked: what comes of these, once they are asked for."""

    documents: list[Document] = field(default_factory=list)
    texts: dict[bytes, str] = field(default_factory=dict)
    asked: Asked | None = None


@dataclass(slots=True)
class _Prepared:
    chunk: Chunk
    units: deque[_Unit]
    rejected: tuple[Rejection, ...]
    counts: PassageCounts
    recalled: Mapping[bytes, Vector]
    fresh: set[bytes]
    written: Future[WriteResult] = field(default_factory=Future)


class Embedding(AbstractContextManager["Embedding"]):
    """The passages of one batch's documents. A context that ends with what was asked for and is not needed any more.

    :param told: called while it waits for the model, and whenever something is counted. :param waiting: the same, to raise where
        the task is to stop.
    """

    def __init__(
        self,
        embed: Embed,
        *,
        target: PassageTarget,
        generation: str,
        schema: Schema,
        told: Callable[[], None] = lambda: None,
        waiting: Callable[[], None] = lambda: None,
        observer: Observer = Unobserved(),
    ) -> None:
        self._embed = embed
        self._target = target
        self._generation = generation
        self._schema = schema
        self._told = told
        self._waiting = waiting
        self._splitter = embed.split
        self._hashed = embed.model.identity.hasher()
        self._asking = Asking(embed, observer)
        self._lock = threading.Lock()
        """Of what follows, and of asking: the task's own thread and the one that writes both do."""
        self._ahead: deque[_Prepared] = deque()
        self._queue: deque[_Unit] = deque()
        self._asked = 0
        self._over = False
        """Nothing more is to be written."""
        vector = 4 * embed.model.identity.dimensions
        window = 2 * embed.concurrency * embed.model.limits.texts
        self._unit_texts = max(1, min(_UNIT_BYTES // vector, window // 2))
        self._most_asked = max(self._unit_texts, min(_AHEAD_BYTES // vector, window))
        self._seen = PassageCounts()
        self._met = 0
        self.acknowledged = PassageCounts()
        """Passages of documents that were written."""

    def __exit__(self, *error: object) -> None:
        self._asking.__exit__()

    @property
    def spent(self) -> PassageCounts:
        """What the model was asked for, whatever has become of the answer."""
        return self._asking.spent

    @property
    def traffic(self) -> Traffic:
        """How often, and how long, the model has sent requests away."""
        return self._asking.traffic

    @property
    def counts(self) -> PassageCounts:
        """All that is known by now, of documents that are not written yet too."""
        return self._seen + self.spent

    def left(self, rows: int) -> float:
        """How many texts there are still to be embedded, when the batch has so many rows for this try: those of rows that are not
        read yet come to as many a row as of the others."""
        fresh = self._seen.passages - self._seen.reused
        unread = max(0, rows - self._met) * fresh / self._met if self._met else 0.0
        return max(0, fresh - self.spent.embedded) + unread

    @contextmanager
    def writes(
        self, chunks: Iterator[Chunk], writer: Writer
    ) -> Iterator[Iterator[tuple[Chunk, Callable[[], WriteResult]]]]:
        """Each chunk, and what waits until its documents are written with their passages, in a thread that alone uses the writer
        until the context is left. They are written in the order of the chunks, and none after one that failed."""
        with ThreadPoolExecutor(1, "reindex-write") as pool:
            try:
                yield self._written(chunks, lambda prepared: pool.submit(self._write, prepared, writer))
            finally:
                self._over = True

    def _written(
        self, chunks: Iterator[Chunk], begin: Callable[[_Prepared], Future[WriteResult]]
    ) -> Iterator[tuple[Chunk, Callable[[], WriteResult]]]:
        for chunk in chunks:
            prepared = self._prepare(chunk)
            self._ask()
            prepared.written = begin(prepared)
            if len(self._ahead) > 1:
                yield self._first()
        while self._ahead:
            yield self._first()

    def _first(self) -> tuple[Chunk, Callable[[], WriteResult]]:
        prepared = self._ahead[0]
        return replace(prepared.chunk, payload=()), partial(self._wait_for, prepared)

    def _wait_for(self, prepared: _Prepared) -> WriteResult:
        while wait([prepared.written], _LOOK_UP_S).not_done:
            self._told()
            self._waiting()
        result = prepared.written.result()
        self._told()
        self._ahead.popleft()
        self.acknowledged += prepared.counts
        return result

    # -- before the model

    def _prepare(self, chunk: Chunk) -> _Prepared:
        documents: list[Document] = []
        rejected: list[Rejection] = []
        for document in cast("Sequence[Document]", chunk.payload):
            try:
                documents.append(self._split(document))
            except Exception as error:
                rejected.append(Rejection(document.key, _words(error)))
        recalled = self._target.recall(self._generation, documents, self._schema)
        # What the chunk before has asked for is in the target by the time that this one is written.
        held = set(recalled.known).union(recalled.vectors, *(ahead.fresh for ahead in self._ahead))
        fresh: set[bytes] = set()
        units: deque[_Unit] = deque()
        met = 0
        for document in documents:
            texts: dict[bytes, str] = {}
            met += len(document.passages)
            if document.key not in recalled.overtaken:
                texts = {p.hash: p.text for p in document.passages if p.hash not in held}
            held.update(texts)
            fresh.update(texts)
            if not units or (units[-1].texts and len(units[-1].texts) + len(texts) > self._unit_texts):
                units.append(_Unit())
            units[-1].documents.append(document)
            units[-1].texts |= texts
        counts = PassageCounts(passages=met, reused=met - len(fresh) + len(self._asking.cached(fresh)))
        self._seen += counts
        self._met += len(documents) + len(rejected)
        prepared = _Prepared(chunk, units, tuple(rejected), counts, recalled.vectors, fresh)
        with self._lock:
            self._queue.extend(units)
            self._ahead.append(prepared)
        self._told()
        return prepared

    def _split(self, document: Document) -> Document:
        if document.fields is None:
            return document
        found = passages(document.fields, self._embed.fields, split=self._splitter, hashed=self._hashed)
        return Document(document.key, document.version, document.fields, found)

    def _ask(self) -> None:
        """For the texts of the next units, as far as their vectors have room."""
        with self._lock:
            while not self._over and self._queue and self._has_room(len(self._queue[0].texts)):
                unit = self._queue.popleft()
                unit.asked = self._asking.ask(unit.texts)
                self._asked += len(unit.texts)

    def _has_room(self, texts: int) -> bool:
        return not self._asked or self._asked + texts <= self._most_asked

    # -- after it, in the thread that writes

    def _write(self, prepared: _Prepared, writer: Writer) -> WriteResult:
        result = WriteResult(Counts(failures=len(prepared.rejected)), prepared.rejected)
        try:
            while prepared.units:
                self._ask()
                unit = prepared.units[0]
                try:
                    vectors, refused = self._answers(unit.asked)
                except TransientError:
                    self._keep_answered(writer)
                    raise
                written = self._write_unit(prepared, unit, {**prepared.recalled, **vectors}, refused, writer)
                result = WriteResult(result.counts + written.counts, (*result.rejected, *written.rejected))
                prepared.units.popleft()
                with self._lock:
                    self._asked -= len(unit.texts)
        except BaseException:
            self._over = True
            raise
        return result

    def _answers(self, asked: Asked | None) -> tuple[dict[bytes, Vector], dict[bytes, str]]:
        """The vectors of the texts, and why some have none."""
        assert asked is not None
        while not self._over:
            if wait([asked.future], _LOOK_UP_S).done:
                break
        else:
            raise CancelledError
        outcomes = asked.outcomes()
        vectors = {hash: outcome for hash, outcome in outcomes.items() if not isinstance(outcome, Exception)}
        refused: dict[bytes, str] = {}
        if len(vectors) < len(outcomes):
            for hash, outcome in outcomes.items():
                if isinstance(outcome, TextRefusedError):
                    refused[hash] = str(outcome)
                elif isinstance(outcome, Exception):
                    raise outcome
        return vectors, refused

    def _write_unit(
        self,
        prepared: _Prepared,
        unit: _Unit,
        vectors: dict[bytes, Vector],
        refused: dict[bytes, str],
        writer: Writer,
    ) -> WriteResult:
        documents = unit.documents
        rejected: list[Rejection] = []
        for _ in range(_TRIES):
            refusals = [r for document in documents if (r := _refusal(document, refused))] if refused else []
            rejected += refusals
            gone = {refusal.key for refusal in refusals}
            documents = [document for document in documents if document.key not in gone] if gone else documents
            chunk = Chunk(prepared.chunk.end, prepared.chunk.format, documents, vectors=vectors)
            try:
                result = writer.write(chunk)
            except VectorsGoneError as error:
                # Others took them away since the target was asked, or what was to bring them was refused itself.
                texts = {p.hash: p.text for d in documents for p in d.passages if p.hash in error.hashes}
                with self._lock:
                    asked = self._asking.ask(texts)
                found, refused = self._answers(asked)
                vectors |= found
                continue
            return WriteResult(result.counts + Counts(failures=len(rejected)), (*rejected, *result.rejected))
        raise TransientError("Vectors that the index held went away again and again while documents were written.")

    def _keep_answered(self, writer: Writer) -> None:
        """The model has failed for this try: what it has answered by then is written, so that the next one finds it there."""
        with self._lock:
            ahead = list(self._ahead)
        for prepared in ahead:
            for unit in prepared.units:
                if unit.asked is None:
                    return
                outcomes = unit.asked.outcomes().items()
                vectors = {hash: outcome for hash, outcome in outcomes if not isinstance(outcome, Exception)}
                lacking = unit.texts.keys() - vectors.keys()
                while vectors:
                    done = [d for d in unit.documents if not any(p.hash in lacking for p in d.passages)]
                    try:
                        writer.write(replace(prepared.chunk, payload=done, vectors={**prepared.recalled, **vectors}))
                        break
                    except VectorsGoneError as error:
                        # Counted upon from a document before these, which was not answered itself.
                        lacking |= error.hashes


def _refusal(document: Document, refused: Mapping[bytes, str]) -> Rejection | None:
    for passage in document.passages:
        if passage.hash in refused:
            return Rejection(document.key, f"{_where(passage)}: {refused[passage.hash]}")
    return None


def _where(passage: Passage) -> str:
    if passage.start is None:
        return f"field {passage.field!r}"
    return f"field {passage.field!r}, characters {passage.start} to {passage.end}"


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, TextRefusedError) else f"the splitter raised {type(error).__name__}: {error}"
