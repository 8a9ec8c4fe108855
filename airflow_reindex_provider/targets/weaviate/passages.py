"""A document's passages: properties and a multivector of its own object. The vector ``passages`` has one for each, of which a
search takes the nearest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_reindex_provider.core.embedding.embedder import Vector
from airflow_reindex_provider.core.embedding.passages import Passage
from airflow_reindex_provider.targets.row_passages import HASHES, PASSAGES


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


def multivector(passages: Sequence[Passage], vectors: Mapping[bytes, Vector]) -> dict[str, Any]:
    return {PASSAGES: [list(vectors[p.hash]) for p in passages]}
