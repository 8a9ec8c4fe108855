"""Passages that stand in their document's own row, so that the write of the row writes them all: ``passages`` says what they are,
in their order, and by ``passage_hashes`` a text is known again. Where their vectors are, each engine says."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from airflow_reindex_provider.core.embedding.passages import Passage
from airflow_reindex_provider.core.embedding.recipe import Recipe
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Document

PASSAGES, HASHES = "passages", "passage_hashes"


def require_room(recipe: Recipe, columns: Mapping[str, str], label: str, *, taken: Collection[str]) -> None:
    """:param taken: names that the passages go by in the index.
    :raises ConfigurationError: documents of these columns cannot have passages of this kind."""
    for name in taken:
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


def told(passages: Sequence[Passage]) -> dict[str, Any]:
    return {
        PASSAGES: [{"field": p.field, "start": p.start, "end": p.end, "text": p.text} for p in passages],
        HASHES: [p.hash.hex() for p in passages],
    }
