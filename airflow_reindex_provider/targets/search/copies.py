"""What a generation in a search engine holds of some documents, read by ``_id``: compared, or copied to another generation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.core.bulk import document_id, engine_version
from airflow_reindex_provider.core.embedding.passages import distinct
from airflow_reindex_provider.core.model import Document, Key, Rejection, Schema
from airflow_reindex_provider.targets.search.documents import bulk_lines
from airflow_reindex_provider.targets.search.indexes import path
from airflow_reindex_provider.targets.search.mapping import vector_fields
from airflow_reindex_provider.targets.search.passages import PASSAGES

if TYPE_CHECKING:
    from airflow_reindex_provider.targets.search.engine import Calls

_NO_VECTORS = "index.mapping.exclude_source_vectors"
_VECTORS = frozenset({"knn_vector", "dense_vector"})


_NOTHING = object()
_NEAR = 1e-5
"""How far the numbers of a vector may be off, for its largest one: the engines keep them normalised, in single precision."""


def differing(
    calls: Calls, generation: str, documents: Sequence[Document], mapping: Mapping[str, Any], schema: Schema
) -> list[tuple[Key, str]]:
    """Those that the generation holds with the same version and other values, with the first field that differs. What the
    mapping's own ``_source`` keeps out is not judged."""
    if not documents:
        return []
    vectors = vector_fields(schema)
    loose = {f.name for f in schema.fields if f.type.startswith(("json", "jsonb"))}
    found: list[tuple[Key, str]] = []
    for document, held in zip(documents, _read(calls, generation, [d.key for d in documents]), strict=True):
        if held.get("_version") != engine_version(document.version) or "_source" not in held:
            continue
        refused: list[Rejection] = []
        lines = list(bulk_lines([document], refused, vectors=vectors))
        if refused:
            found.append((document.key, refused[0].reason))
            continue
        wanted, source = json.loads(lines[0].splitlines()[1], parse_float=Decimal), held["_source"]
        if document.passages and _hashes(source) != [passage.hash.hex() for passage in distinct(document.passages)]:
            found.append((document.key, PASSAGES))
            continue
        # Vectors are told by the hash of what they are of.
        source.pop(PASSAGES, None) if PASSAGES not in wanted else None
        for name in sorted(wanted.keys() | source.keys()):
            if name not in source and "_source" in mapping:
                continue
            if _is_vector(mapping, name):
                # None at all is left out, where vectors are kept apart.
                same = _near(source.get(name), wanted.get(name))
            else:
                one, other = source.get(name, _NOTHING), wanted.get(name, _NOTHING)
                same = _floats(one) == _floats(other) if name in loose else one == other
            if not same:
                found.append((document.key, name))
                break
    return found


def lacking(
    calls: Calls, keys: Sequence[Key], dropped: Set[str], *, from_generation: str, to_generation: str
) -> list[Document]:
    """The documents of these keys that the one generation holds and the other does not, without the fields ``dropped``."""
    here = _read(calls, from_generation, keys)
    there = _get(calls, to_generation, keys, "?_source=false")
    return [
        Document(key, held["_version"], {n: v for n, v in held["_source"].items() if n not in dropped})
        for key, held, other in zip(keys, here, there, strict=True)
        if "_source" in held and not other["found"]
    ]


def _read(calls: Calls, generation: str, keys: Sequence[Key]) -> list[dict[str, Any]]:
    """The documents with all that was written of them."""
    query = with_vectors(calls, generation)
    return _get(calls, generation, keys, f"?{query}" if query else "")


def with_vectors(calls: Calls, generation: str) -> str:
    """What a request for documents has to say, for their vectors to be in ``_source``; nothing for most engines."""
    # Elasticsearch from 9.2 on answers without vectors unless it is asked for them; what it is asked with, older ones refuse.
    # An engine that knows the setting knows the question.
    answer = calls.call(
        "GET", path(generation, "_settings", _NO_VECTORS) + "?include_defaults=true&flat_settings=true"
    )[generation]
    known = {**answer.get("defaults", {}), **answer["settings"]}
    return "_source_exclude_vectors=false" if _NO_VECTORS in known else ""


def _get(calls: Calls, generation: str, keys: Sequence[Key], query: str) -> list[dict[str, Any]]:
    ids = {"ids": [document_id(key) for key in keys]}
    found: list[dict[str, Any]] = calls.call("POST", path(generation, "_mget") + query, ids)["docs"]
    return found


def _hashes(source: Mapping[str, Any]) -> list[str]:
    return [passage["hash"] for passage in source.get(PASSAGES, ())]


def _is_vector(mapping: Mapping[str, Any], name: str) -> bool:
    return mapping.get("properties", {}).get(name, {}).get("type") in _VECTORS


def _near(one: Any, other: Any) -> bool:
    if not (isinstance(one, list) and isinstance(other, list) and len(one) == len(other)):
        return bool(one == other)
    try:
        pairs = [(float(a), float(b)) for a, b in zip(one, other, strict=True)]
    except (TypeError, ValueError):
        return one == other
    room = _NEAR * max((abs(a) for pair in pairs for a in pair), default=0.0)
    return all(abs(a - b) <= room for a, b in pairs)


def _floats(value: Any) -> Any:
    """The source's JSON came as Python's floats, the engine has it as it was written."""
    match value:
        case list():
            return [_floats(inner) for inner in value]
        case dict():
            return {name: _floats(inner) for name, inner in value.items()}
        case Decimal():
            return float(value)
    return value
