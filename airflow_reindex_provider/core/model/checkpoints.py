"""What a stream remembers between runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_reindex_provider.core.model.packed import packed, unpacked
from airflow_reindex_provider.core.model.words import Key, Position


@dataclass(frozen=True, slots=True)
class Parked:
    """A rejected document that waits for its next try. Times are ISO 8601 in UTC."""

    key: Key
    reason: str
    attempts: int
    parked_at: str
    next_try_at: str

    def to_json(self) -> dict[str, Any]:
        return {name: list(v) if isinstance(v := getattr(self, name), tuple) else v for name in self.__slots__}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Parked:
        return cls(**{**value, "key": tuple(value["key"])})


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far (stream, generation) has got, and which documents wait for another try.

    ``version`` counts the saves and is what a compare-and-set compares; a checkpoint never saved has version 0.
    """

    stream: str
    generation: str
    position: Position | None = None
    parked: tuple[Parked, ...] = ()
    version: int = 0
    saved_at: str | None = None
    saved_by: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "stream": self.stream,
            "generation": self.generation,
            "cursor": self.position.cursor if self.position else None,
            "key": list(self.position.key) if self.position else [],
            "parked": packed([p.to_json() for p in self.parked]),
            "version": self.version,
            "saved_at": self.saved_at,
            "saved_by": self.saved_by,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Checkpoint:
        """:raises KeyError, TypeError, ValueError: the value is not what :meth:`to_json` wrote."""
        cursor, key, version = value["cursor"], value.get("key") or [], value["version"]
        if not (cursor is None or isinstance(cursor, str)) or not isinstance(key, list) or type(version) is not int:
            raise TypeError("cursor is a text or null, key a list of texts, version an integer")
        return cls(
            stream=value["stream"],
            generation=value["generation"],
            position=None if cursor is None else Position(cursor, tuple(str(k) for k in key)),
            parked=tuple(Parked.from_json(p) for p in unpacked(value.get("parked", ()))),
            version=version,
            saved_at=value.get("saved_at"),
            saved_by=value.get("saved_by"),
        )
