"""The vectors that tables hold of some documents' passages, by the hash of a text."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from airflow_reindex_provider.core.embedding.embedder import Vector
from airflow_reindex_provider.core.model import Document, Recalled
from airflow_reindex_provider.targets.key_texts import KeyTexts
from airflow_reindex_provider.targets.lance.keys import quoted
from airflow_reindex_provider.targets.lance.passages import VECTORS
from airflow_reindex_provider.targets.lance.writer import held_of
from airflow_reindex_provider.targets.row_passages import HASHES

if TYPE_CHECKING:
    from lancedb.table import Table

_ASKED_AT_ONCE = 500
_READ_AT_ONCE = 256
"""Rows whose vectors are in memory at once."""


def recalled(
    documents: Sequence[Document], lenders: Sequence[Table], keys: KeyTexts, *, given: Collection[bytes] = ()
) -> Recalled:
    """:param lenders: the table that is written to first, then others with vectors of the same model. :param given: hashes whose
    vectors need not be looked for."""
    wanted = [document for document in documents if document.passages]
    texts = {document.key: keys.text(document.key) for document in wanted}
    held = held_of(lenders[0], list(texts.values()))
    overtaken = {
        document.key
        for document in wanted
        if (other := held.get(texts[document.key])) is not None and other.version > document.version
    }
    hashes = {p.hash for document in wanted if document.key not in overtaken for p in document.passages} - set(given)
    vectors: dict[bytes, Vector] = {}
    for lender in lenders:
        left = sorted(hashes - vectors.keys())
        for at in range(0, len(left), _ASKED_AT_ONCE):
            vectors |= _held(lender, set(left[at : at + _ASKED_AT_ONCE]))
    return Recalled(vectors=vectors, overtaken=frozenset(overtaken))


def _held(table: Table, hashes: set[bytes]) -> dict[bytes, Vector]:
    named = ", ".join(quoted(hash.hex()) for hash in hashes)
    query = table.search().where(f"array_has_any({HASHES}, [{named}])").select([HASHES, VECTORS])
    found: dict[bytes, Vector] = {}
    for batch in query.to_batches(_READ_AT_ONCE):
        for row in batch.to_pylist():
            for text, numbers in zip(row[HASHES], row[VECTORS], strict=True):
                if (hash := bytes.fromhex(text)) in hashes and hash not in found:
                    found[hash] = array("f", numbers)
    return found
