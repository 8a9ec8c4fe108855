"""What the listings of the source and the target in memory share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from airflow_reindex_provider.core.keys import Checksum, KeyRange, Listed, Place
from airflow_reindex_provider.core.model import Key


def holds(within: KeyRange, key: Key, place_of: Callable[[Key], Place]) -> bool:
    """Whether the key lies in the range."""
    place = place_of(key)
    return (within.start is None or place >= place_of(within.start)) and (
        within.end is None or place < place_of(within.end)
    )


def memory_checksum(listed: Iterable[Listed]) -> Checksum:
    """Of those that are there and have a version, in their order."""
    lines = [repr((entry.key, entry.version)) for entry in listed if not entry.gone and entry.version is not None]
    return Checksum(len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest())
