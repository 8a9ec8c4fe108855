"""What one run does, batch by batch, and what became of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.model.packed import packed, unpacked
from airflow_reindex_provider.core.model.rows import Counts, PassageCounts, Rejection
from airflow_reindex_provider.core.model.words import Guarantee, Key, Mode, Position, Window

_BEYOND_SECONDS = re.compile(r"(?<=:\d\d)(\.\d+)?\+00(:00)?(?= BC|$)|(?<=:\d\d)\.\d+(?= BC|$)")


@dataclass(frozen=True, slots=True)
class Batch:
    """A slice of a plan's window: the unit that Airflow maps, retries and shows.

    With ``keys`` it is the batch of parked documents instead: those rows, as far as they lie below the window's end.

    :ivar group: value of the column that the stream's groups are made by; None in a stream without groups.
    :ivar fresh: the generation was made by the plan itself, so rows of other groups need not be taken out of it.
    :ivar changed: of documents that are made of several tables, in which their versions lie; ``window`` says where their own rows
        do. None where a document is a row.
    """

    stream: str
    generation: str
    number: int
    of: int
    window: Window
    rows: int
    keys: tuple[Key, ...] = ()
    mode: Mode = Mode.INCREMENTAL
    group: str | None = None
    fresh: bool = False
    changed: Window | None = None

    @property
    def label(self) -> str:
        """Name of the mapped task instance in Airflow's UI."""
        begin = self.window.start
        place = _BEYOND_SECONDS.sub("", begin.cursor) if begin else "the first one"
        what = f"{len(self.keys)} parked" if self.keys else f"{self.rows:,} rows from {place}"
        whose = "" if self.group is None else f"{self.group[:40]} "
        return f"{whose}{self.number + 1}/{self.of}: {what}"

    def to_json(self) -> dict[str, Any]:
        value = {
            "stream": self.stream,
            "generation": self.generation,
            "number": self.number,
            "of": self.of,
            "rows": self.rows,
            "mode": str(self.mode),
            **self.window.to_json(),
        }
        if self.keys:
            value["keys"] = [list(key) for key in self.keys]
        if self.group is not None:
            value |= {"group": self.group, "fresh": self.fresh}
        if self.changed is not None:
            value["changed"] = self.changed.to_json()
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Batch:
        return cls(
            stream=value["stream"],
            generation=value["generation"],
            number=value["number"],
            of=value["of"],
            window=Window.from_json(value),
            rows=value["rows"],
            keys=tuple(tuple(key) for key in value.get("keys", ())),
            mode=Mode(value["mode"]),
            group=value.get("group"),
            fresh=value.get("fresh", False),
            changed=Window.from_json(value["changed"]) if value.get("changed") else None,
        )


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What one finished batch tells the closing task, with the batch itself: a plan made anew has other ones."""

    batch: Batch
    counts: Counts
    rejected: tuple[Rejection, ...] = ()
    chunks: int = 0
    elapsed_s: float = 0.0
    passages: PassageCounts = PassageCounts()

    def to_json(self) -> dict[str, Any]:
        return {
            "batch": self.batch.to_json(),
            "processed": self.counts.processed,
            **self.counts.to_json(),
            **self.passages.to_json(),
            "chunks": self.chunks,
            "elapsed_s": round(self.elapsed_s, 3),
            "rejected": packed([r.to_json() for r in self.rejected]),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BatchResult:
        return cls(
            batch=Batch.from_json(value["batch"]),
            counts=Counts.from_json(value),
            rejected=tuple(Rejection.from_json(r) for r in unpacked(value["rejected"])),
            chunks=value["chunks"],
            elapsed_s=value["elapsed_s"],
            passages=PassageCounts.from_json(value),
        )


@dataclass(frozen=True, slots=True)
class Generation:
    """One physical index of a stream; the public name points at the live one."""

    name: str
    live: bool
    served: bool = field(default=True, compare=False)
    """Whether the public name points at it or has done so: it was complete then, and its checkpoint leads on from there."""


@dataclass(frozen=True, slots=True)
class Marked:
    """Something at a target that carries this package's mark.

    :ivar kind: ``view``, ``generation`` or ``alias``. :ivar stream: whose it says that it is. :ivar name: as the target has it.
    :ivar bytes: of disk; None where it has none of its own. :ivar stray: whether it stands where nothing of that stream uses it.
    :ivar made: when, where it must not be judged young.
    """

    kind: str
    stream: str
    name: str
    bytes: int | None = None
    stray: bool = False
    made: datetime | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """Of a generation, as far as the engine knows it without reading it. :ivar documents: None where it does not know; those that
    are remembered as deleted may be among them. :ivar estimated: whether that is a guess. :ivar bytes: on its disk."""

    documents: int | None
    estimated: bool
    bytes: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run does. Small enough for an XCom: its batches travel beside it, one to a mapped task."""

    stream: str
    mode: Mode
    generation: str
    window: Window | None
    """None when there is nothing to read."""
    cursor_type: CursorType
    checkpoint: Position | None
    """The checkpoint that the plan started from; what closes the run compares it with what is stored by then."""
    batches: tuple[Batch, ...] = ()
    rows: int = 0
    planned_at: str = "1970-01-01T00:00:00+00:00"
    """ISO 8601; the parked documents that were due then are the ones tried again."""
    null_cursors: int | None = None
    ahead_cursors: int | None = None
    """Rows further ahead of the source's clock than clocks can explain; None where counting them would read the table."""
    horizon: str | None = None
    horizon_basis: str = ""
    held_by: str | None = None
    guarantee: Guarantee = Guarantee.VERSIONED
    dry_run: bool = False
    warnings: tuple[str, ...] = field(default=())
    group: str | None = None
    tables: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Of documents that are made of several tables: how many something in each table touches. One may be in several."""
    embedding: Mapping[str, int] = field(default_factory=dict, hash=False)
    """What a dry run says of the texts that would be embedded: see ``core.running.estimating``."""
    live: bool = False
    """Whether the public name pointed at the generation then."""

    def to_json(self) -> dict[str, Any]:
        """Without the batches: see :meth:`Batch.to_json`."""
        return {
            "stream": self.stream,
            "mode": str(self.mode),
            "generation": self.generation,
            "window": self.window.to_json() if self.window else None,
            "cursor_type": str(self.cursor_type),
            "checkpoint": self.checkpoint.to_json() if self.checkpoint else None,
            "batches": len(self.batches),
            "rows": self.rows,
            "planned_at": self.planned_at,
            "null_cursors": self.null_cursors,
            "ahead_cursors": self.ahead_cursors,
            "horizon": self.horizon,
            "horizon_basis": self.horizon_basis,
            "held_by": self.held_by,
            "guarantee": str(self.guarantee),
            "dry_run": self.dry_run,
            "warnings": list(self.warnings),
            **({} if self.group is None else {"group": self.group}),
            **({"tables": dict(self.tables)} if self.tables else {}),
            **({"embedding": dict(self.embedding)} if self.embedding else {}),
            "live": self.live,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], batches: Iterable[Mapping[str, Any]]) -> Plan:
        return cls(
            stream=value["stream"],
            mode=Mode(value["mode"]),
            generation=value["generation"],
            window=Window.from_json(value["window"]) if value["window"] else None,
            cursor_type=CursorType(value["cursor_type"]),
            checkpoint=Position.from_json(value["checkpoint"]) if value["checkpoint"] else None,
            batches=tuple(Batch.from_json(b) for b in batches),
            rows=value["rows"],
            planned_at=value["planned_at"],
            null_cursors=value["null_cursors"],
            ahead_cursors=value.get("ahead_cursors"),
            horizon=value["horizon"],
            horizon_basis=value["horizon_basis"],
            held_by=value["held_by"],
            guarantee=Guarantee(value["guarantee"]),
            dry_run=value["dry_run"],
            warnings=tuple(value["warnings"]),
            group=value.get("group"),
            tables=value.get("tables", {}),
            embedding=value.get("embedding", {}),
            # A run may have been planned by an older release.
            live=value.get("live", False),
        )
