"""What a sweep plans, finds and reports: immutable, small JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.keys import KeyRange
from airflow_reindex_provider.core.model import Key

MAX_DIFFERING = 32
"""Parts of one range that differ, in a report; more are joined with what lies between them."""


EXAMPLES = 5


class Compare(StrEnum):
    """What of a row and its document is compared; keys always are."""

    VERSIONS = "versions"
    CONTENT = "content"


class Difference(StrEnum):
    """What can be wrong with a key. ``CHANGED``: of the row's version, with other content. ``NEWER`` is left alone: the index
    holds a later version than the source."""

    MISSING = "missing"
    STALE = "stale"
    CHANGED = "changed"
    ORPHANED = "orphaned"
    NEWER = "newer"


class Content(StrEnum):
    """What a row makes, against the document of its version. ``NONE``: no document is to be there."""

    SAME = "same"
    OTHER = "other"
    NONE = "none"


class Finding(NamedTuple):
    key: Key
    difference: Difference
    at_source: bool
    """Whether the source has a row of the key; an orphan with a row is soft-deleted or filtered out there."""
    version: int | None = None
    """Of an orphan: that of its document."""


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What all tasks of a sweep share."""

    stream: str
    generation: str
    bound: str
    """Cursor value; rows and documents at or above it are not judged."""
    cursor_type: CursorType
    max_delete_fraction: float = 0.05
    dry_run: bool = False
    compare: Compare = Compare.VERSIONS
    null_cursors: int | None = None
    """Rows that are not judged since they have no cursor value; None where the source cannot count them."""
    ahead_cursors: int | None = None
    """Rows that no run has read nor will, since they are ahead of the clock; they are not judged either."""
    held_by: str | None = None
    """What holds the source's horizon back, and with it the checkpoint."""
    warnings: tuple[str, ...] = ()

    @property
    def bound_version(self) -> int:
        return self.cursor_type.ordinal(self.bound)

    def to_json(self) -> dict[str, Any]:
        return {
            "stream": self.stream,
            "generation": self.generation,
            "bound": self.bound,
            "cursor_type": str(self.cursor_type),
            "max_delete_fraction": self.max_delete_fraction,
            "dry_run": self.dry_run,
            "compare": str(self.compare),
            "null_cursors": self.null_cursors,
            "ahead_cursors": self.ahead_cursors,
            "held_by": self.held_by,
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SweepPlan:
        typed = {
            "cursor_type": CursorType(value["cursor_type"]),
            "compare": Compare(value["compare"]),
            "warnings": tuple(value.get("warnings", ())),
        }
        return cls(**{**value, **typed})


@dataclass(frozen=True, slots=True)
class SweepRange:
    """A part of the key space: the unit that Airflow maps. ``rows`` is the source's number of rows in it."""

    number: int
    of: int
    keys: KeyRange
    rows: int

    @property
    def label(self) -> str:
        begin = "/".join(self.keys.start) if self.keys.start else "the first key"
        return f"{self.number + 1}/{self.of}: {self.rows:,} keys from {begin[:40]}"

    def to_json(self) -> dict[str, Any]:
        return {"number": self.number, "of": self.of, "rows": self.rows, **self.keys.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SweepRange:
        return cls(value["number"], value["of"], KeyRange.from_json(value), value["rows"])


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What the comparison of a range found, or of several added up.

    :ivar indexed: documents in the index, below the bound. :ivar listed: of the source's rows, how many were compared key by
        key; checksums settled the others. :ivar differing: the parts in which something is to be repaired.
    """

    indexed: int = 0
    listed: int = 0
    counts: Mapping[Difference, int] = field(default_factory=dict)
    examples: Mapping[Difference, tuple[Key, ...]] = field(default_factory=dict)
    differing: tuple[KeyRange, ...] = ()

    def count(self, *of: Difference) -> int:
        return sum(self.counts.get(d, 0) for d in of)

    @property
    def differences(self) -> int:
        return self.count(*Difference)

    def __add__(self, other: SweepReport) -> SweepReport:
        return SweepReport(
            self.indexed + other.indexed,
            self.listed + other.listed,
            {d: n for d in Difference if (n := self.count(d) + other.count(d))},
            {
                d: found[:EXAMPLES]
                for d in Difference
                if (found := (*self.examples.get(d, ()), *other.examples.get(d, ())))
            },
            coalesced(self.differing + other.differing),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "indexed": self.indexed,
            "listed": self.listed,
            **{str(d): self.count(d) for d in Difference},
            "examples": {str(d): [list(key) for key in keys] for d, keys in self.examples.items()},
            "differing": [part.to_json() for part in self.differing],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SweepReport:
        return cls(
            value["indexed"],
            value["listed"],
            {d: n for d in Difference if (n := value[str(d)])},
            {Difference(d): tuple(tuple(key) for key in keys) for d, keys in value["examples"].items()},
            tuple(KeyRange.from_json(part) for part in value["differing"]),
        )


@dataclass(frozen=True, slots=True)
class RepairJob:
    """The parts of one range in which something is to be repaired, and how many documents may be deleted there."""

    range: SweepRange
    parts: tuple[KeyRange, ...]
    repairs: int
    may_delete: int

    @property
    def label(self) -> str:
        return f"{self.range.number + 1}/{self.range.of}: {self.repairs:,} repairs"

    def to_json(self) -> dict[str, Any]:
        return {
            "range": self.range.to_json(),
            "parts": [part.to_json() for part in self.parts],
            "repairs": self.repairs,
            "may_delete": self.may_delete,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RepairJob:
        parts = tuple(KeyRange.from_json(part) for part in value["parts"])
        return cls(SweepRange.from_json(value["range"]), parts, value["repairs"], value["may_delete"])


def coalesced(parts: Sequence[KeyRange]) -> tuple[KeyRange, ...]:
    """At most ``MAX_DIFFERING`` ranges, in order, that hold all of these; neighbours are joined."""
    joined: list[KeyRange] = []
    for part in parts:
        if joined and joined[-1].end == part.start:
            joined[-1] = replace(joined[-1], end=part.end)
        else:
            joined.append(part)
    step = -(-len(joined) // MAX_DIFFERING) or 1
    return tuple(
        KeyRange(joined[n].start, joined[min(n + step, len(joined)) - 1].end) for n in range(0, len(joined), step)
    )
