"""Columns, documents, chunks, and how documents fared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.embedding.embedder import Vector
from airflow_reindex_provider.core.embedding.passages import Passage
from airflow_reindex_provider.core.model.words import Format, Key, Position


@dataclass(frozen=True, slots=True)
class Field:
    """A column of the source.

    ``type`` is what a target of the same kind should give it, ``wire_type`` what its values are cast to on the wire of
    ``Format.PG_COPY`` and ``Format.PG_TEXT``: the same for all built-in types, text for types that another server need not have.
    """

    name: str
    type: str
    wire_type: str
    nullable: bool = True
    fields: tuple[Field, ...] = ()
    """Of the objects that it holds, where it stands for rows of another table."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns that a stream carries, primary key included."""

    fields: tuple[Field, ...]
    primary_key: tuple[str, ...]
    cursor_type: CursorType
    cursor_timezone: str | None = None
    """Zone of the local times that a ``timestamp`` or ``date`` cursor holds."""
    has_deletes: bool = False
    """Whether reads can yield deletions (a soft-delete column or a row filter)."""

    def field(self, name: str) -> Field:
        return next(f for f in self.fields if f.name == name)


@dataclass(frozen=True, slots=True)
class Document:
    """One document for a target in the rows format; no ``fields`` means that it must leave the index."""

    key: Key
    version: int
    fields: Mapping[str, Any] | None
    passages: tuple[Passage, ...] = ()
    """Of its texts, in their order, where the stream embeds them."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that is not in the index though it should be, and why."""

    key: Key
    reason: str

    def to_json(self) -> dict[str, Any]:
        return {"key": list(self.key), "reason": self.reason}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Rejection:
        return cls(tuple(value["key"]), value["reason"])


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a target writes and acknowledges at once.

    ``payload`` holds a list of documents (``Format.ROWS``) or pieces of bytes that can be walked once. A source bounds it by the
    bytes that have come, whatever rows were like before. Once it is acknowledged, the batch goes on at ``end``: every row of the
    batch before that place is in this or an earlier chunk, or ``rejected``.
    """

    end: Position
    format: Format
    payload: Sequence[Document] | Iterable[bytes]
    rejected: tuple[Rejection, ...] = ()
    """Rows that are no documents, because they could not be read."""
    vectors: Mapping[bytes, Vector] = field(default_factory=dict)
    """By the hash of a passage; of those that the target does not have to give to its documents itself."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How documents fared, in the words of the search engines' task APIs; ``processed`` is the sum of the others."""

    created: int = 0
    updated: int = 0
    deleted: int = 0
    noops: int = 0
    version_conflicts: int = 0
    failures: int = 0

    @property
    def processed(self) -> int:
        return sum(getattr(self, f.name) for f in fields(self))

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))

    def to_json(self) -> dict[str, int]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Counts:
        return cls(**{f.name: value[f.name] for f in fields(cls)})


@dataclass(frozen=True, slots=True)
class PassageCounts:
    """What embedding has done and cost.

    :ivar passages: met in documents. :ivar reused: of these, those whose vectors were there already, or were asked for once
        already. :ivar embedded: texts that the model has answered. :ivar requests: to the model. :ivar tokens: as the provider
        counts them; 0 where it does not say."""

    passages: int = 0
    reused: int = 0
    embedded: int = 0
    requests: int = 0
    tokens: int = 0

    def __add__(self, other: PassageCounts) -> PassageCounts:
        return PassageCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def to_json(self) -> dict[str, int]:
        """Of a stream that embeds nothing, only that nothing is reused."""
        if self == PassageCounts():
            return {"reused": 0}
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PassageCounts:
        return cls(**{f.name: value.get(f.name, 0) for f in fields(cls)})


@dataclass(frozen=True, slots=True)
class WriteResult:
    """A target's answer to one chunk, which is thereby acknowledged."""

    counts: Counts
    rejected: tuple[Rejection, ...] = ()


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a target knows of the passages of some documents before they are written.

    :ivar known: hashes of passages whose vectors it holds and gives to the documents itself. :ivar vectors: by hash, of those
        that it holds and that have to be sent again. :ivar overtaken: keys of which it holds a newer version, so that nothing
        of these documents will be taken."""

    known: frozenset[bytes] = frozenset()
    vectors: Mapping[bytes, Vector] = field(default_factory=dict)
    overtaken: frozenset[Key] = frozenset()
