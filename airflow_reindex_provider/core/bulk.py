"""What the lines of a search engine's ``_bulk`` body say, whoever writes them: a source ready made, or a target from rows.

A document is two lines, a deletion one, each ended by a newline and free of others::

    {"index":{"_id":"7","version":1700000000000000,"version_type":"external_gte"}}
    {"id":7,"title":"..."}
    {"delete":{"_id":"8","version":1700000000000001,"version_type":"external_gte"}}

A value stands in a document as Postgres' ``to_json`` has it, but for bytes, which are base64, and pgvector's dense vectors, which
are arrays of numbers.
"""

from __future__ import annotations

import re

from airflow_reindex_provider.core.model import Key

VERSION_TYPE = "external_gte"
"""The engine takes a write whose version is not less than the one it holds, and answers 409 to others."""

_VECTOR = re.compile(r"(?:.*\.)?(?:vector|halfvec)(?:\((\d+)\))?")


def is_vector(type: str) -> bool:
    """Whether it is one of pgvector's dense types, whose text is a JSON array of numbers."""
    return _VECTOR.fullmatch(type) is not None


def vector_length(type: str) -> int | None:
    """The declared length of a vector of this type."""
    match = _VECTOR.fullmatch(type)
    return int(match[1]) if match and match[1] else None


def engine_version(version: int) -> int:
    """A document's version as the engines take it: not negative. What changed before 1970 counts as of 1970."""
    return max(version, 0)


def document_id(key: Key) -> str:
    """``_id`` of a key: its text; the parts of a compound key joined by ``|``, with ``\\`` before a ``|`` or ``\\`` in a part."""
    if len(key) == 1:
        return key[0]
    return "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in key)


def key_of(document_id: str, width: int) -> Key:
    """The key of ``width`` parts that has this ``_id``.

    :raises ValueError: no such key has."""
    if width == 1:
        return (document_id,)
    parts = [""]
    characters = iter(document_id)
    for character in characters:
        if character == "|":
            parts.append("")
        else:
            parts[-1] += next(characters, "") if character == "\\" else character
    if len(parts) != width:
        raise ValueError(f"{document_id!r} is not the _id of a key of {width} columns")
    return tuple(parts)
