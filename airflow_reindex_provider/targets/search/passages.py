"""A document's passages in a search engine: objects within it, so that one versioned write replaces them all, and with it.

{"id": 7, "title": "Boots", ..,
 "passages": [{"field": "title", "start": 0, "end": 5, "hash": "a1..", "text": "Boots", "vector": [..]}, ..]}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from airflow_reindex_provider.core.embedding.embedder import Vector
from airflow_reindex_provider.core.embedding.passages import Passage
from airflow_reindex_provider.core.embedding.recipe import Recipe
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Schema

PASSAGES = "passages"
"""The field of a document, and what its generation's mark says of them."""
_encode = msgspec.json.encode


def with_passages(mapping: Mapping[str, Any], vector: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping with the field of passages. What the author says of one of its properties stands in the place of ours.

    :param vector: the engine's field for their vectors."""
    properties = mapping.get("properties", {})
    ours = {
        "field": {"type": "keyword"},
        "start": {"type": "integer", "index": False},
        "end": {"type": "integer", "index": False},
        "hash": {"type": "keyword"},
        "text": {"type": "text"},
        "vector": vector,
    }
    given = properties.get(PASSAGES, {}).get("properties", {})
    # Strict, since a field that nobody meant would be in each of them.
    field = {"type": "nested", "dynamic": "strict", "properties": {**ours, **given}}
    return {**mapping, "properties": {**properties, PASSAGES: field}}


def require_room(recipe: Recipe, schema: Schema, given: Mapping[str, Any], label: str) -> None:
    """:param given: the author's mapping.

    :raises ConfigurationError: the documents cannot have passages of this kind."""
    columns = [f.name for f in schema.fields]
    if PASSAGES in columns:
        raise ConfigurationError(
            f"{label}: the source has a column {PASSAGES!r}, where embed= puts the passages of a document. Give the column"
            " another name in a query (AS), or leave it out with columns=."
        )
    known = {*columns, *given.get("properties", {})}
    for name in recipe.fields:
        if name not in known:
            raise ConfigurationError(
                f"{label}: embed= names the field {name!r}, which is no column of the source. It has: {', '.join(columns)}. A"
                f' field that a transform makes has to be declared: mappings={{"properties": {{"{name}": {{"type": "text"}}}}}}.'
            )


def nested(passages: Iterable[Passage], vectors: Mapping[bytes, Vector]) -> msgspec.Raw:
    """As JSON, made at once: most of a document's bytes are numbers."""
    return msgspec.Raw(
        _encode(
            [
                {
                    "field": passage.field,
                    "start": passage.start,
                    "end": passage.end,
                    "hash": passage.hash.hex(),
                    "text": passage.text,
                    "vector": vectors[passage.hash].tolist(),
                }
                for passage in passages
            ]
        )
    )
