"""What a clean-up finds: each thing with its size, and why nothing needs it. Small JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

DEFAULT_AGE = timedelta(days=1)


class OrphanKind(StrEnum):
    """In the order in which they go: what others point at last."""

    ALIAS = "alias"
    VIEW = "view"
    GENERATION = "generation"
    CHECKPOINT = "checkpoint"
    GROUPS = "list of groups"
    MEMORY = "memory"
    PARKED = "parked documents"
    TOMBSTONES = "tombstones"
    LEASE = "lease"


@dataclass(frozen=True, slots=True)
class Orphan:
    """Something that carries our mark and that nothing needs.

    :ivar stream: whose it is. :ivar name: its own, as its system has it. :ivar where: the system, for people.
    :ivar reason: why nothing needs it. :ivar bytes: of disk; None where that is not known. :ivar count: of the documents or rows,
        where it stands for several."""

    kind: OrphanKind
    stream: str
    name: str
    where: str
    reason: str
    bytes: int | None = None
    count: int | None = None

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """The same when it is looked for again."""
        return str(self.kind), self.stream, self.name, self.where

    def __str__(self) -> str:
        size = f", {self.bytes:,} bytes" if self.bytes is not None else ""
        count = f", {self.count:,} of them" if self.count is not None else ""
        return f"{self.kind} {self.name} of stream {self.stream!r} in {self.where}{size}{count}: {self.reason}"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "kind": str(self.kind)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Orphan:
        return cls(**{**value, "kind": OrphanKind(value["kind"])})


@dataclass(frozen=True, slots=True)
class Rules:
    """What is old enough to be judged.

    :ivar retain: generations that were served and stay beside the live one; None: all of them. :ivar older_than: nothing younger
        is judged, whatever it looks like: a rebuild that failed may be gone on with, and clocks differ."""

    retain: int | None = None
    older_than: timedelta = DEFAULT_AGE
