"""Writes chunks into the table of a generation: one commit each, in which LanceDB judges the versions of all rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from airflow_reindex_provider.core.model import Chunk, Counts, Document, Rejection, WriteResult
from airflow_reindex_provider.targets.lance.keys import one_of
from airflow_reindex_provider.targets.lance.layout import DELETED, KEY, VERSION
from airflow_reindex_provider.targets.whole_documents import Held, Recalling, fate, newest, with_vectors

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.table import Table

    from airflow_reindex_provider.targets.lance.rows import Rows

NOT_OLDER = f"source.{VERSION} >= target.{VERSION}"
_LOOKED_UP_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class LanceWriter:
    """See :class:`~airflow_reindex_provider.core.protocols.Writer`.

    :ivar opened: gives the table, or raises where the generation is gone; asked for each chunk. :ivar explained: turns
        LanceDB's errors into ours. :ivar recalling: finds vectors that a chunk does not bring; None of a generation without
        passages."""

    opened: Callable[[], Table]
    rows: Rows
    explained: Callable[[], AbstractContextManager[None]]
    recalling: Recalling | None = None

    def write(self, chunk: Chunk) -> WriteResult:
        documents, overtaken = newest(cast("Sequence[Document]", chunk.payload))
        documents, vectors, stale = with_vectors(documents, chunk.vectors, self.recalling)
        overtaken += stale
        rejected: list[Rejection] = []
        table = self.opened()
        rows = self.rows.of(documents, rejected, vectors)
        refused = {rejection.key for rejection in rejected}
        taken = [document for document in documents if document.key not in refused]
        counts = Counts(version_conflicts=overtaken, failures=len(rejected))
        if taken:
            with self.explained():
                counts += self._merged(table, taken, rows)
        return WriteResult(counts, tuple(rejected))

    def _merged(self, table: Table, documents: Sequence[Document], rows: pa.Table) -> Counts:
        try:
            merge = table.merge_insert(KEY).when_matched_update_all(where=NOT_OLDER).when_not_matched_insert_all()
            # A row without a vector, a deletion say, is a bad one to LanceDB; those that are none have been refused by now.
            done = merge.execute(rows, on_bad_vectors="null")
            held: Mapping[str, Held] = {}
            if done.num_inserted_rows < len(documents):
                # Versions of a table are commits, one after the other: the one before ours is what ours was judged upon.
                table.checkout(done.version - 1)
                held = held_of(table, cast("list[str]", rows[KEY].to_pylist()))
        except Exception:
            # Its files are taken away while it is written: whoever drops a generation says so, LanceDB does not.
            self.opened()
            raise
        fared = Counts()
        for document, key in zip(documents, rows[KEY].to_pylist(), strict=True):
            fared += fate(document, held.get(key))
        return fared


def held_of(table: Table, keys: Sequence[str]) -> dict[str, Held]:
    """:param keys: as texts."""
    found: dict[str, Held] = {}
    for at in range(0, len(keys), _LOOKED_UP_AT_ONCE):
        query = table.search().where(one_of(keys[at : at + _LOOKED_UP_AT_ONCE], KEY)).select([KEY, VERSION, DELETED])
        for row in query.to_arrow().to_pylist():
            found[row[KEY]] = Held(row[VERSION], row[DELETED])
    return found
