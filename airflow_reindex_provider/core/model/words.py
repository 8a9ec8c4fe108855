"""What everything else is said with: keys, modes, formats, positions and windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

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
    PG_TEXT = "pg_text"
    """The same as lines of Postgres' text COPY, for sources that cannot write the other: every piece holds whole rows."""
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
