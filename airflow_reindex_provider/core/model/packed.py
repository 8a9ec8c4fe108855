"""Long lists of keys in JSON: what thousands of documents have in common is written once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

MANY = 100
"""Up to so many entries each stands for itself, to be read and edited by people."""


def packed(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Entries with a ``key`` each; of more than ``MANY``, neighbours that differ in the key alone are one, with ``keys``. A key
    of one column is a plain text there."""
    if len(entries) <= MANY:
        return [dict(entry) for entry in entries]
    joined: list[dict[str, Any]] = []
    for shared, alike in groupby(entries, key=lambda e: {name: value for name, value in e.items() if name != "key"}):
        keys = [entry["key"] for entry in alike]
        joined.append({**shared, "keys": [key[0] if len(key) == 1 else key for key in keys]})
    return joined


def unpacked(values: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """What :func:`packed` was given; entries with a ``key`` may stand among the others."""
    for value in values:
        shared = {name: held for name, held in value.items() if name != "keys"}
        if "keys" not in value:
            yield shared
            continue
        for key in value["keys"]:
            yield {**shared, "key": [key] if isinstance(key, str) else list(key)}


def size(value: Any) -> int:
    """In bytes, as Airflow measures what it stores."""
    return len(json.dumps(value))
