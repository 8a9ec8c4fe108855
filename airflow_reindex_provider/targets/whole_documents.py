"""What of a chunk is written into an engine that takes documents whole: one of each key, with the vectors of all its passages."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from airflow_reindex_provider.core.embedding.embedder import Vector
from airflow_reindex_provider.core.errors import VectorsGoneError
from airflow_reindex_provider.core.model import Counts, Document, Key, Recalled

Recalling = Callable[[Sequence[Document], Collection[bytes]], Recalled]
"""Finds vectors that a chunk does not bring; given the hashes of those that it does."""


@dataclass(frozen=True, slots=True)
class Held:
    """What an engine had of a key."""

    version: int
    deleted: bool


def fate(document: Document, held: Held | None) -> Counts:
    """What becomes of a document that is written where this was held, as a reader sees it."""
    if held is not None and held.version > document.version:
        return Counts(version_conflicts=1)
    was_there = held is not None and not held.deleted
    if document.fields is None:
        return Counts(deleted=1) if was_there else Counts(noops=1)
    return Counts(updated=1) if was_there else Counts(created=1)


def newest(documents: Sequence[Document]) -> tuple[list[Document], int]:
    """One of each key, the last of those with its greatest version; and how many others there were."""
    found: dict[Key, Document] = {}
    for document in documents:
        other = found.get(document.key)
        if other is None or other.version <= document.version:
            found[document.key] = document
    return list(found.values()), len(documents) - len(found)


def with_vectors(
    documents: list[Document], given: Mapping[bytes, Vector], recalling: Recalling | None
) -> tuple[list[Document], Mapping[bytes, Vector] | None, int]:
    """With the vectors of all their passages, and how many of them are overtaken already: these would find no vector to be made
    whole with.

    :param recalling: None of a generation without passages.
    :raises VectorsGoneError: what was there when the chunk was planned is there no more."""
    if recalling is None:
        return documents, None, 0
    lacking = [d for d in documents if any(passage.hash not in given for passage in d.passages)]
    if not lacking:
        return documents, given, 0
    found = recalling(lacking, given.keys())
    vectors = {**given, **found.vectors}
    left = [document for document in documents if document.key not in found.overtaken]
    if gone := {p.hash for document in left for p in document.passages} - vectors.keys():
        raise VectorsGoneError(frozenset(gone))
    return left, vectors, len(documents) - len(left)
