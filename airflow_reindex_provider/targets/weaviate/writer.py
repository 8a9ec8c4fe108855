"""Writes chunks into the collection of a generation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import cast

from airflow_reindex_provider.core.embedding.embedder import Vector
from airflow_reindex_provider.core.errors import ReindexError, VectorsGoneError
from airflow_reindex_provider.core.model import Chunk, Counts, Document, Key, Recalled, Rejection, WriteResult
from airflow_reindex_provider.targets.weaviate.rows import Rows
from airflow_reindex_provider.targets.weaviate.sending import Sending

Recalling = Callable[[Sequence[Document], Collection[bytes]], Recalled]


class WeaviateWriter:
    """See :class:`~airflow_reindex_provider.core.protocols.Writer`.

    :param require_there: raises where the generation is gone. :param recalling: finds vectors that a chunk does not bring;
        None of a generation without passages."""

    def __init__(
        self, sending: Sending, rows: Rows, require_there: Callable[[], object], recalling: Recalling | None = None
    ) -> None:
        self._sending = sending
        self._rows = rows
        self._require_there = require_there
        self._recalling = recalling

    def write(self, chunk: Chunk) -> WriteResult:
        documents, overtaken = _newest(cast("Sequence[Document]", chunk.payload))
        rejected: list[Rejection] = []
        try:
            documents, vectors, stale = self._whole(documents, chunk.vectors)
            rows = self._rows.of(documents, rejected, vectors)
            counts = Counts(version_conflicts=overtaken + stale, failures=len(rejected))
            counts += self._sending.send(rows, rejected)
        except ReindexError:
            # It may have been dropped meanwhile, and then nothing else is worth telling.
            self._require_there()
            raise
        return WriteResult(counts, tuple(rejected))

    def _whole(
        self, documents: list[Document], given: Mapping[bytes, Vector]
    ) -> tuple[list[Document], Mapping[bytes, Vector] | None, int]:
        """With the vectors of all their passages, and how many of them are overtaken already: there may be nothing to make these
        whole with."""
        if self._recalling is None:
            return documents, None, 0
        lacking = [d for d in documents if any(passage.hash not in given for passage in d.passages)]
        if not lacking:
            return documents, given, 0
        found = self._recalling(lacking, given.keys())
        vectors = {**given, **found.vectors}
        left = [document for document in documents if document.key not in found.overtaken]
        if gone := {p.hash for document in left for p in document.passages} - vectors.keys():
            raise VectorsGoneError(frozenset(gone))
        return left, vectors, len(documents) - len(left)


def _newest(documents: Sequence[Document]) -> tuple[list[Document], int]:
    """One of each key, the last of those with its greatest version; and how many others there were."""
    found: dict[Key, Document] = {}
    for document in documents:
        other = found.get(document.key)
        if other is None or other.version <= document.version:
            found[document.key] = document
    return list(found.values()), len(documents) - len(found)
