"""Where the vectors of a model are kept beside all indexes: the extension point of the folder ``caches/``.

A cache is a plain value that a Dag file makes without I/O. ``open()`` gives a session, used by one task, by several of its
threads at once, closed at the end. Every method may raise ``ConfigurationError`` or ``TransientError``, as those of a target.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from airflow_reindex_provider.core.embedding.embedder import Vector


class VectorCacheSession(Protocol):
    """An open cache. Vectors are known by the hash of their text under the model's identity, so those of several models,
    streams and generations may lie in one cache. What it does not have is embedded."""

    def having(self, hashes: Collection[bytes]) -> Collection[bytes]:
        """Those of the hashes whose vectors it has. They count as used today."""

    def find(self, hashes: Collection[bytes]) -> Mapping[bytes, Vector]:
        """The vectors of those that it has."""

    def keep(self, vectors: Mapping[bytes, Vector]) -> None:
        """When it returns, they survive a crash of the task and of the cache. One that is there already stays."""


class VectorCache(Protocol):
    """What a Dag author names as the cache."""

    def open(self) -> AbstractContextManager[VectorCacheSession]: ...

    @property
    def label(self) -> str:
        """How messages name it, connection included."""
