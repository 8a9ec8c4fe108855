"""Writes chunks into the collection of a generation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from airflow_reindex_provider.core.errors import ReindexError
from airflow_reindex_provider.core.model import Chunk, Counts, Document, Rejection, WriteResult
from airflow_reindex_provider.targets.weaviate.rows import Rows
from airflow_reindex_provider.targets.weaviate.sending import Sending
from airflow_reindex_provider.targets.whole_documents import Recalling, newest, with_vectors


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
        documents, overtaken = newest(cast("Sequence[Document]", chunk.payload))
        rejected: list[Rejection] = []
        try:
            documents, vectors, stale = with_vectors(documents, chunk.vectors, self._recalling)
            rows = self._rows.of(documents, rejected, vectors)
            counts = Counts(version_conflicts=overtaken + stale, failures=len(rejected))
            counts += self._sending.send(rows, rejected)
        except ReindexError:
            # It may have been dropped meanwhile, and then nothing else is worth telling.
            self._require_there()
            raise
        return WriteResult(counts, tuple(rejected))
