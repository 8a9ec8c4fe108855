"""What a target must do to hold passages with vectors beside its documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from airflow_reindex_provider.core.embedding.recipe import Recipe
from airflow_reindex_provider.core.model import Document, Recalled, Schema
from airflow_reindex_provider.core.protocols import Target, TargetSession


@runtime_checkable
class EmbeddingTarget(Target, Protocol):
    """A target that can hold passages beside its documents; its sessions are each a :class:`PassageTarget` then."""

    def with_passages(self, recipe: Recipe) -> Target:
        """The same index, with passages that this recipe makes. :meth:`TargetSession.fields` refuses generations of others."""


@runtime_checkable
class PassageTarget(TargetSession, Protocol):
    """A target whose documents have passages with vectors. Its writers write a document with its passages, all that it has and no
    other, in one step under the document's version.

    They take a vector from ``Chunk.vectors``, else from the passages of equal hash in the generation, or in the live one.
    ``Writer.write`` raises ``VectorsGoneError``, with nothing of the chunk written, where it is in none of these. An equal text
    is kept once in a document, at the first of its places."""

    def recall(self, generation: str, documents: Sequence[Document], schema: Schema) -> Recalled:
        """What need not be embedded to write these documents. Asked while a writer of this session writes in another thread."""
