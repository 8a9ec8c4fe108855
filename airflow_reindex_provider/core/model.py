"""The nouns: what a run plans, reads, writes and remembers. All are immutable and turn into small JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from airflow_reindex_provider.core.cursors import CursorType

Key = tuple[str, ...]
"""A primary key, one text per column, as the source itself writes the value."""

Transform = Callable[[dict[str, Any]], Mapping[str, Any] | None]
"""Row in, document out; None takes the row out of the index."""


class Mode(StrEnum):
    """What a run does; the shape ``extract -> index -> checkpoint`` is the same for all."""

    INCREMENTAL = "incremental"
    BACKFILL = "backfill"
    SWEEP = "sweep"
    REBUILD = "rebuild"

    @property
    def moves_checkpoint(self) -> bool:
        """Whether a run of this mode reads on from the checkpoint and moves it."""
        return self in (Mode.INCREMENTAL, Mode.REBUILD)


class Format(StrEnum):
    """The form in which a chunk travels from a source to a target."""

    ROWS = "rows"
    """A list of :class:`Document`: works between every source and every target."""
    PG_COPY = "pg_copy"
    """Postgres' binary COPY stream: version bigint, deleted boolean, then the fields in the order asked for."""
    BULK = "bulk"
    """Lines of the search engines' ``_bulk`` body (``core.bulk``) in UTF-8; every piece of bytes holds whole documents."""


class Guarantee(StrEnum):
    """What a target does with a write that is older than what it holds."""

    VERSIONED = "versioned"
    LAST_WRITE_WINS = "last_write_wins"


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two rows in the source's order of change, (cursor field, primary key).

    A row lies at or after it when ``(row.cursor, row.key) >= (cursor, key)``; the empty key sorts before all keys.
    """

    cursor: str
    key: Key = ()

    def to_json(self) -> dict[str, Any]:
        return {"cursor": self.cursor, "key": list(self.key)} if self.key else {"cursor": self.cursor}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Position:
        return cls(value["cursor"], tuple(value.get("key", ())))

    def __str__(self) -> str:
        return f"{self.cursor} {'/'.join(self.key)}" if self.key else self.cursor


@dataclass(frozen=True, slots=True)
class Window:
    """Half open, ``[start, end)``; no start means from the first row on."""

    start: Position | None
    end: Position

    def to_json(self) -> dict[str, Any]:
        return {"start": self.start.to_json() if self.start else None, "end": self.end.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Window:
        start = value["start"]
        return cls(Position.from_json(start) if start else None, Position.from_json(value["end"]))

    def __str__(self) -> str:
        return f"[{self.start or 'first row'}, {self.end})"


@dataclass(frozen=True, slots=True)
class Batch:
    """A slice of a plan's window: the unit that Airflow maps, retries and shows.

    With ``keys`` it is the batch of parked documents instead: those rows, as far as they lie below the window's end.

    :ivar group: value of the column that the stream's groups are made by; None in a stream without groups.
    :ivar fresh: the generation was made by the plan itself, so rows of other groups need not be taken out of it.
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

    @property
    def label(self) -> str:
        """Name of the mapped task instance in Airflow's UI."""
        begin = self.window.start
        place = begin.cursor.partition(".")[0].removesuffix("+00") if begin else "the first one"
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
        )


@dataclass(frozen=True, slots=True)
class Document:
    """One document for a target in the rows format; no ``fields`` means that it must leave the index."""

    key: Key
    version: int
    fields: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a target writes and acknowledges at once.

    ``payload`` holds a list of documents (``Format.ROWS``) or an iterable of bytes that can be walked once. Once it is
    acknowledged, the batch goes on at ``end``: every row of the batch before that place is in this or an earlier chunk.
    """

    end: Position
    format: Format
    payload: Sequence[Document] | Iterable[bytes]
    weight: int = 0
    """Bytes that a list of documents holds, as far as the source knows; 0 where it does not."""


@dataclass(frozen=True, slots=True)
class Field:
    """A column of the source.

    ``type`` is what a target of the same kind should give it, ``wire_type`` what its values are cast to on the wire of
    ``Format.PG_COPY``: the same for all built-in types, text for types that another server need not have.
    """

    name: str
    type: str
    wire_type: str
    nullable: bool = True


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
class Horizon:
    """The bound below which no row of the source can still appear or change unseen.

    ``cursor`` is None while nothing at all is safe (a prepared transaction is open, say); ``held_by`` then says why.
    """

    cursor: str | None
    basis: str
    held_by: str | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """What a source says of itself before a row is read: its columns, its clock and its horizon."""

    schema: Schema
    horizon: Horizon
    now: str | None
    """The source's clock as a cursor value; None where the cursor is not made of time."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Slices:
    """A window cut into parts of nearly equal size, in order and without gaps."""

    parts: tuple[tuple[Window, int], ...]
    null_cursors: int | None = None
    """Rows left out because their cursor field is NULL; None where counting them would scan the table."""

    @property
    def rows(self) -> int:
        return sum(rows for _, rows in self.parts)


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of a source, by the values of a column as text. :ivar nulls: rows that are in no group, their value is NULL."""

    values: tuple[str, ...] = ()
    nulls: int = 0


@dataclass(frozen=True, slots=True)
class Rejection:
    """A document that the target refused, and why."""

    key: Key
    reason: str

    def to_json(self) -> dict[str, Any]:
        return {"key": list(self.key), "reason": self.reason}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Rejection:
        return cls(tuple(value["key"]), value["reason"])


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

    def to_json(self) -> dict[str, int]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Counts:
        return cls(**{f.name: value[f.name] for f in fields(cls)})


@dataclass(frozen=True, slots=True)
class WriteResult:
    """A target's answer to one chunk, which is thereby acknowledged."""

    counts: Counts
    rejected: tuple[Rejection, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What one finished batch tells the closing task, with the batch itself: a plan made anew has other ones."""

    batch: Batch
    counts: Counts
    rejected: tuple[Rejection, ...] = ()
    chunks: int = 0
    elapsed_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "batch": self.batch.to_json(),
            "processed": self.counts.processed,
            **self.counts.to_json(),
            "chunks": self.chunks,
            "elapsed_s": round(self.elapsed_s, 3),
            "rejected": [r.to_json() for r in self.rejected],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BatchResult:
        return cls(
            batch=Batch.from_json(value["batch"]),
            counts=Counts.from_json(value),
            rejected=tuple(Rejection.from_json(r) for r in value["rejected"]),
            chunks=value["chunks"],
            elapsed_s=value["elapsed_s"],
        )


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
            "parked": [p.to_json() for p in self.parked],
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
            parked=tuple(Parked.from_json(p) for p in value.get("parked", ())),
            version=version,
            saved_at=value.get("saved_at"),
            saved_by=value.get("saved_by"),
        )


@dataclass(frozen=True, slots=True)
class Generation:
    """One physical index of a stream; the public name points at the live one."""

    name: str
    live: bool
    served: bool = field(default=True, compare=False)
    """Whether the public name points at it or has done so: it was complete then, and its checkpoint leads on from there."""


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
    horizon: str | None = None
    horizon_basis: str = ""
    held_by: str | None = None
    guarantee: Guarantee = Guarantee.VERSIONED
    dry_run: bool = False
    warnings: tuple[str, ...] = field(default=())
    group: str | None = None

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
            "horizon": self.horizon,
            "horizon_basis": self.horizon_basis,
            "held_by": self.held_by,
            "guarantee": str(self.guarantee),
            "dry_run": self.dry_run,
            "warnings": list(self.warnings),
            **({} if self.group is None else {"group": self.group}),
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
            horizon=value["horizon"],
            horizon_basis=value["horizon_basis"],
            held_by=value["held_by"],
            guarantee=Guarantee(value["guarantee"]),
            dry_run=value["dry_run"],
            warnings=tuple(value["warnings"]),
            group=value.get("group"),
        )
