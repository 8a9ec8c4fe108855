"""Writes documents with their passages: vectors that were not sent along are taken from the index."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from airflow_reindex_provider.core.embedding.passages import distinct
from airflow_reindex_provider.core.errors import VectorsGoneError
from airflow_reindex_provider.core.model import Chunk, Counts, Document, Rejection, WriteResult
from airflow_reindex_provider.core.observing import Traffic
from airflow_reindex_provider.targets.search.passages import PASSAGES, nested

if TYPE_CHECKING:
    from airflow_reindex_provider.targets.search.recalling import Recalling
    from airflow_reindex_provider.targets.search.writer import SearchWriter

_FULL = 0.8
"""Of a body, when it is made of passages: the documents' other fields come on top, and it should not become two."""


class PassageWriter:
    """See :class:`~airflow_reindex_provider.core.embedding.target.PassageTarget`."""

    def __init__(self, writer: SearchWriter, recalling: Recalling) -> None:
        self._writer = writer
        self._recalling = recalling

    @property
    def traffic(self) -> Traffic:
        return self._writer.traffic

    def write(self, chunk: Chunk) -> WriteResult:
        documents = cast("Sequence[Document]", chunk.payload)
        vectors = dict(chunk.vectors)
        lacking = [d for d in documents if any(passage.hash not in vectors for passage in d.passages)]
        overtaken: frozenset[tuple[str, ...]] = frozenset()
        if lacking:
            recalled = self._recalling.recall(lacking, given=vectors.keys())
            vectors |= recalled.vectors
            # The engine would refuse them; there is nothing to make them whole with before.
            overtaken = recalled.overtaken
            gone = {p.hash for d in lacking if d.key not in overtaken for p in d.passages} - vectors.keys()
            if gone:
                raise VectorsGoneError(frozenset(gone))
        done = WriteResult(Counts())
        refused: list[Rejection] = []
        conflicts = 0
        with ThreadPoolExecutor(1, "reindex-send") as sending:
            sent: Future[WriteResult] | None = None
            whole: list[Document] = []
            size = 0
            for number, document in enumerate(documents, 1):
                if document.fields is not None and PASSAGES in document.fields:
                    reason = (
                        f"it has a field {PASSAGES!r} of its own, where embed= puts its passages; give it another name"
                    )
                    refused.append(Rejection(document.key, reason))
                elif document.fields is None or not document.passages:
                    whole.append(document)
                elif document.key in overtaken:
                    conflicts += 1
                else:
                    made = nested(distinct(document.passages), vectors)
                    size += len(memoryview(made))
                    whole.append(replace(document, fields={**document.fields, PASSAGES: made}, passages=()))
                if size < _FULL * self._writer.pace.body_bytes and number < len(documents):
                    continue
                # The engine works on the one body while the next is made, which is numbers, and so takes its time.
                staged = self._writer.stage(replace(chunk, payload=whole, vectors={}))
                done = _sum(done, sent)
                sent = sending.submit(staged)
                whole, size = [], 0
            done = _sum(done, sent)
        counts = done.counts + Counts(version_conflicts=conflicts, failures=len(refused))
        return WriteResult(counts, (*refused, *done.rejected))


def _sum(done: WriteResult, sent: Future[WriteResult] | None) -> WriteResult:
    """Waits for what is on its way. :raises TransientError: the engine did not take it."""
    if sent is None:
        return done
    more = sent.result()
    return WriteResult(done.counts + more.counts, (*done.rejected, *more.rejected))
