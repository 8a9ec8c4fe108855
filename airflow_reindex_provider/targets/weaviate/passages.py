"""A document's passages: properties and a multivector of its own object, so that the write of the object writes them all.

``passages`` says what they are, in their order, and the vector of the same name has one for each, of which a search takes the
nearest; by ``passage_hashes`` a text is known again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_reindex_provider.core.embedding.embedder import Vector
from airflow_reindex_provider.core.embedding.passages import Passage
from airflow_reindex_provider.core.embedding.recipe import Recipe
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Document

PASSAGES, HASHES = "passages", "passage_hashes"
COLUMNS = (PASSAGES, HASHES)


def vector_config(*, several: bool = False) -> dict[str, Any]:
    """:param several: of one object."""
    config: dict[str, Any] = {"distance": "cosine"}
    if several:
        config["multivector"] = {"enabled": True}
    return {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw", "vectorIndexConfig": config}


def property_configs() -> list[dict[str, Any]]:
    parts = [("field", "text"), ("start", "int"), ("end", "int"), ("text", "text")]
    nested = [{"name": name, "dataType": [kind]} for name, kind in parts]
    return [
        {
            "name": PASSAGES,
            "dataType": ["object[]"],
            "nestedProperties": nested,
            "indexFilterable": False,
        },
        {"name": HASHES, "dataType": ["text[]"], "tokenization": "field", "indexSearchable": False},
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


def properties(passages: Sequence[Passage]) -> dict[str, Any]:
    return {
        PASSAGES: [{"field": p.field, "start": p.start, "end": p.end, "text": p.text} for p in passages],
        HASHES: [p.hash.hex() for p in passages],
    }


def multivector(passages: Sequence[Passage], vectors: Mapping[bytes, Vector]) -> dict[str, Any]:
    return {PASSAGES: [list(vectors[p.hash]) for p in passages]}
