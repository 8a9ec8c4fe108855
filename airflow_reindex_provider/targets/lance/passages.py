"""A document's passages: three columns of its own row. ``passage_vectors`` has a vector for each, of which a search takes the
nearest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.core.embedding.embedder import Vector
from airflow_reindex_provider.core.embedding.passages import Passage
from airflow_reindex_provider.core.embedding.recipe import Recipe
from airflow_reindex_provider.targets.row_passages import HASHES, PASSAGES, told

if TYPE_CHECKING:
    import pyarrow as pa

VECTORS = "passage_vectors"
COLUMNS = (PASSAGES, VECTORS, HASHES)


def fields(recipe: Recipe) -> list[pa.Field]:
    import pyarrow as pa

    parts = [("field", pa.string()), ("start", pa.int32()), ("end", pa.int32()), ("text", pa.string())]
    return [
        pa.field(PASSAGES, pa.list_(pa.struct(parts))),
        pa.field(VECTORS, pa.list_(pa.list_(pa.float32(), recipe.dimensions))),
        pa.field(HASHES, pa.list_(pa.string())),
    ]


def values(passages: Sequence[Passage], vectors: Mapping[bytes, Vector]) -> dict[str, Any]:
    """Of the three columns."""
    return {**told(passages), VECTORS: [vectors[p.hash] for p in passages]}
