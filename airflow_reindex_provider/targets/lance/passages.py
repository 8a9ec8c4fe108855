"""A document's passages: three columns of its own row, so that the commit that writes the row writes them all.

``passages`` says what they are, in their order; ``passage_vectors`` has a vector for each, of which a search takes the nearest;
by ``passage_hashes`` a text is known again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.core.embedding.embedder import Vector
from airflow_reindex_provider.core.embedding.passages import Passage
from airflow_reindex_provider.core.embedding.recipe import Recipe
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Document

if TYPE_CHECKING:
    import pyarrow as pa

PASSAGES, VECTORS, HASHES = "passages", "passage_vectors", "passage_hashes"
COLUMNS = (PASSAGES, VECTORS, HASHES)


def fields(recipe: Recipe) -> list[pa.Field]:
    import pyarrow as pa

    parts = [("field", pa.string()), ("start", pa.int32()), ("end", pa.int32()), ("text", pa.string())]
    return [
        pa.field(PASSAGES, pa.list_(pa.struct(parts))),
        pa.field(VECTORS, pa.list_(pa.list_(pa.float32(), recipe.dimensions))),
        pa.field(HASHES, pa.list_(pa.string())),
    ]


def require_room(recipe: Recipe, columns: Mapping[str, str], label: str) -> None:
    """:raises ConfigurationError: documents of these columns cannot have passages of this kind."""
    for name in COLUMNS:
        if name in columns:
            raise ConfigurationError(
                f"{label}: there is a column {name!r}, where embed= puts the passages of a document. Give it another name in a"
                " query (AS), or leave it out with columns= of the source."
            )
    for name in recipe.fields:
        if name not in columns:
            raise ConfigurationError(
                f"{label}: embed= names the field {name!r}, which is no column of the index. It has: {', '.join(columns)}. A"
                f" field that a transform makes has to be declared: columns={{{name!r}: 'text'}}."
            )


def own(document: Document) -> list[Passage]:
    """Its passages, an equal text once, at the first of its places."""
    found: dict[bytes, Passage] = {}
    for passage in document.passages:
        found.setdefault(passage.hash, passage)
    return list(found.values())


def values(passages: Sequence[Passage], vectors: Mapping[bytes, Vector]) -> dict[str, Any]:
    """Of the three columns."""
    return {
        PASSAGES: [{"field": p.field, "start": p.start, "end": p.end, "text": p.text} for p in passages],
        VECTORS: [vectors[p.hash] for p in passages],
        HASHES: [p.hash.hex() for p in passages],
    }
