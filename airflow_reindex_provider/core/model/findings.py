"""What somebody who examines a stream says of one thing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """Runs go on, and a person should know."""
    WRONG = "wrong"
    """Runs fail, or would."""


@dataclass(frozen=True, slots=True)
class Finding:
    """:ivar what: the thing that was looked at, in a word or two. :ivar says: for people. :ivar statement: SQL, a request or a
    command that mends it, ready to be copied."""

    level: Level
    what: str
    says: str
    statement: str | None = None

    def to_json(self) -> dict[str, str]:
        told = {"level": str(self.level), "what": self.what, "says": self.says}
        return told if self.statement is None else {**told, "statement": self.statement}
