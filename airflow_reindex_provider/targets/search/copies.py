"""What a generation in a search engine holds of some documents, read by ``_id``: compared, or copied to another generation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.core.bulk import document_id, engine_version
from airflow_reindex_provider.core.model import Document, Key
from airflow_reindex_provider.targets.search.documents import bulk_lines
from airflow_reindex_provider.targets.search.indexes import path

if TYPE_CHECKING:
    from airflow_reindex_provider.targets.search.engine import Calls

_VECTORS = frozenset({"knn_vector", "dense_vector"})


def differing(
    calls: Calls, generation: str, documents: Sequence[Document], mapping: Mapping[str, Any]
) -> list[tuple[Key, str]]:
    """Those that the generation holds with the same version and other values, with the first field that differs.

    What the engine keeps out of ``_source`` is not judged: by the mapping's own ``_source``, or a vector in an engine that
    leaves vectors out.
    """
    if not documents:
        return []
    answer = calls.call("POST", path(generation, "_mget"), {"ids": [document_id(d.key) for d in documents]})
    found: list[tuple[Key, str]] = []
    for document, held in zip(documents, answer["docs"], strict=True):
        if held.get("_version") != engine_version(document.version) or "_source" not in held:
            continue
        lines, refused = bulk_lines([document])
        if refused:
            found.append((document.key, refused[0].reason))
            continue
        wanted, source = json.loads(lines[0].splitlines()[1], parse_float=Decimal), held["_source"]
        for name in sorted(wanted.keys() | source.keys()):
            if name not in source and ("_source" in mapping or _is_vector(mapping, name)):
                continue
            if name not in source or name not in wanted or source[name] != wanted[name]:
                found.append((document.key, name))
                break
    return found


def lacking(
    calls: Calls, keys: Sequence[Key], dropped: Set[str], *, from_generation: str, to_generation: str
) -> list[Document]:
    """The documents of these keys that the one generation holds and the other does not, without the fields ``dropped``."""
    ids = {"ids": [document_id(key) for key in keys]}
    here = calls.call("POST", path(from_generation, "_mget"), ids)["docs"]
    there = calls.call("POST", path(to_generation, "_mget") + "?_source=false", ids)["docs"]
    return [
        Document(key, held["_version"], {n: v for n, v in held["_source"].items() if n not in dropped})
        for key, held, other in zip(keys, here, there, strict=True)
        if "_source" in held and not other["found"]
    ]


def _is_vector(mapping: Mapping[str, Any], name: str) -> bool:
    return mapping.get("properties", {}).get(name, {}).get("type") in _VECTORS
