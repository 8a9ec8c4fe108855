"""The author's transform, a document at a time: what goes wrong with one is said of that one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from airflow_reindex_provider.core.model import Chunk, Document, Rejection, Transform


def transformed(chunk: Chunk, transform: Transform) -> Chunk:
    """The chunk as the target shall see it; documents that the transform could not make are rejected."""
    documents: list[Document] = []
    rejected: list[Rejection] = []
    for document in cast("Sequence[Document]", chunk.payload):
        if document.fields is None:
            documents.append(document)
            continue
        try:
            documents.append(replace(document, fields=_made(transform, document.fields)))
        except Exception as error:
            rejected.append(Rejection(document.key, f"the transform raised {_words(error)}"))
    return replace(chunk, payload=documents, rejected=(*chunk.rejected, *rejected))


def _made(transform: Transform, fields: Mapping[str, Any]) -> dict[str, Any] | None:
    made: Any = transform(dict(fields))
    if made is None:
        return None
    if not isinstance(made, Mapping):
        raise TypeError(
            f"it must return a dict, or None to take the row out of the index, and not a {type(made).__name__}"
        )
    # A copy, since it may use one dict for all of its documents.
    fields = dict(made)
    for name in fields:
        if not isinstance(name, str):
            raise TypeError(f"the name of a field must be a text, and {name!r} is a {type(name).__name__}")
    return fields


def _words(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__
