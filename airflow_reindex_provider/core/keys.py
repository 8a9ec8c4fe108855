"""What a key is, the order of keys that a source and an index share, and what a walk along it meets.

A key is the text that the source writes for it, one a column: another text is another key. A database may take two texts for one
value (``1.0`` and ``1.00``, ``Ann`` and ``ann`` in a citext, ``1 day`` and ``24:00:00``), and then a row has one of them at a
time. When it changes to another, it has left the one key for the other, and an index follows as if the key had changed:

- a write is about the row's present text. An index that takes both texts for one key, as a Postgres table with a column of the
  same type does, gives the document the new one; a search engine, which knows a document by its text, then holds two;
- a deletion is about the text that it names, and touches no document of another text. A tombstone is written for a text that
  no row has any more;
- a look-up at the source finds the row by its value, and says which text it has. So a sweep knows that an orphan is an old text
  of a row that is there: it writes the row, and deletes what is still there under the old text;
- listings, checksums, parked documents and what a rebuild carries over compare texts.

Whole numbers are ordered as numbers, everything else by the bytes of its text in UTF-8; columns one after the other. It is
the order of Python, of Postgres' collation "C" and of a search engine's keyword fields, whatever a database's own is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any, NamedTuple

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Key, Schema

INTEGERS = frozenset({"smallint", "integer", "bigint"})
"""The types of ``Field.type`` whose values are ordered as numbers."""

Place = tuple[int | bytes, ...]


class KeyKind(StrEnum):
    NUMBER = "number"
    TEXT = "text"


def key_kinds(schema: Schema) -> tuple[KeyKind, ...]:
    """How each column of the primary key is ordered."""
    types = (schema.field(name).type for name in schema.primary_key)
    return tuple(KeyKind.NUMBER if t in INTEGERS else KeyKind.TEXT for t in types)


def placing(kinds: Sequence[KeyKind]) -> Callable[[Key], Place]:
    """What to compare keys by."""
    numbers = tuple(kind is KeyKind.NUMBER for kind in kinds)
    return lambda key: tuple(int(p) if n else p.encode() for p, n in zip(key, numbers, strict=True))


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Half open, ``[start, end)``, in the order of keys; None is the first or past the last one."""

    start: Key | None = None
    end: Key | None = None

    def to_json(self) -> dict[str, Any]:
        return {"start": self.start and list(self.start), "end": self.end and list(self.end)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> KeyRange:
        return cls(*(tuple(value[edge]) if value[edge] else None for edge in ("start", "end")))

    def cut(self, places: Iterable[Key]) -> tuple[KeyRange, ...]:
        """The parts between these places, which lie within the range in order, without a gap."""
        edges = [self.start, *places, self.end]
        return tuple(KeyRange(start, end) for start, end in pairwise(edges))

    def __str__(self) -> str:
        start, end = ("/".join(key) if key else None for key in (self.start, self.end))
        return f"{start or 'the first key'} to {end or 'the last one'}"


class Listed(NamedTuple):
    """A row or document as a listing gives it."""

    key: Key
    version: int | None
    """None for a row of the source that lies at or above the bound, or has no cursor value."""
    gone: bool
    """Soft-deleted or filtered out at the source; remembered as deleted in the index."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """Of the (key, version) of all that is there below the bound, whatever their order. Equal ones: equal sides."""

    count: int
    digest: str


def in_order(pages: Iterable[Sequence[Listed]], place_of: Callable[[Key], Place], side: str) -> Iterator[Listed]:
    """The entries one by one.

    :raises ConfigurationError: they are not in the order of keys, or one key comes twice; to compare them further would
        take what is there for missing.
    """
    last: Place | None = None
    for page in pages:
        for entry in page:
            place = place_of(entry.key)
            if last is not None and place <= last:
                raise ConfigurationError(
                    f"{side} does not give its keys once and in order: {'/'.join(entry.key)!r} comes after a key that is not"
                    " less. A query or view must give each key one row; a key of text must be UTF-8."
                )
            last = place
            yield entry
