"""Which command does which act. Standard library only: every ``airflow`` command reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_reindex_provider.control.acts import ACTS, Act


@dataclass(frozen=True, slots=True)
class Doing:
    """A command that starts a run.

    :ivar words: after ``airflow reindex``. :ivar act: what it does, of ``ACTS``. :ivar dry: the act that ``--dry-run`` makes of
        it, where that is another one. :ivar ranged: the act that the bounds of a window make of it. :ivar positional: arguments
        that need no flag, with the values that they have where they are left out; None where they must be given. :ivar asks:
        what a person is asked first, where it cannot simply be undone; ``{stream}`` is its name. :ivar lists_first: whether
        what would be done is shown before that."""

    words: tuple[str, ...]
    act: str
    dry: str | None = None
    ranged: str | None = None
    positional: Mapping[str, str | None] = field(default_factory=dict)
    asks: str = ""
    lists_first: bool = False

    @property
    def acts(self) -> Iterator[Act]:
        return (ACTS[name] for name in (self.act, self.dry, self.ranged) if name)

    @property
    def has_dry_run(self) -> bool:
        return self.dry is not None or "dry_run" in ACTS[self.act].properties

    @property
    def properties(self) -> dict[str, Any]:
        """The JSON Schemas of its arguments, by name; ``dry_run`` is apart."""
        return {name: schema for act in self.acts for name, schema in act.properties.items() if name != "dry_run"}

    def resolved(self, given: Mapping[str, Any]) -> tuple[Act, dict[str, Any]]:
        """The act that is meant, and its arguments."""
        arguments = {name: value for name, value in given.items() if value is not None}
        if self.dry is not None and arguments.pop("dry_run", False):
            return ACTS[self.dry], arguments
        if self.ranged is not None and arguments.keys() & ACTS[self.ranged].properties.keys():
            return ACTS[self.ranged], arguments
        return ACTS[self.act], arguments


DOINGS: tuple[Doing, ...] = (
    Doing(("run",), "run", dry="dry-run", ranged="range"),
    Doing(("rebuild",), "rebuild"),
    Doing(("rollback",), "rollback", positional={"rollback_to": "previous"}),
    Doing(("sweep",), "sweep", dry="sweep-dry-run"),
    Doing(("refresh",), "refresh"),
    Doing(("parked", "retry"), "parked-retry"),
    Doing(
        ("parked", "drop"),
        "parked-drop",
        asks="Give parked documents of {stream} up? They stay out of the index until their rows change.",
    ),
    Doing(
        ("checkpoint", "set"),
        "checkpoint-set",
        positional={"cursor": None},
        asks="Set the checkpoint of {stream}? If it moves forward, the rows between are not read.",
    ),
    Doing(
        ("checkpoint", "reset"),
        "checkpoint-reset",
        asks="Forget the checkpoint of {stream}, parked documents included? The next run reads all rows.",
    ),
    Doing(
        ("checkpoint", "move"),
        "checkpoint-move",
        positional={"to": None},
        asks="Move what is kept of {stream}?",
        lists_first=True,
    ),
    Doing(("rename",), "rename", positional={"name": None}, asks="Rename {stream}?", lists_first=True),
    Doing(("remove",), "remove", asks="Remove all this of {stream}? It cannot be undone.", lists_first=True),
    Doing(("accept-changes",), "accept-changes"),
    Doing(("tombstones", "ddl"), "tombstones-ddl"),
    Doing(("tombstones", "install"), "tombstones-install"),
    Doing(
        ("tombstones", "remove"),
        "tombstones-remove",
        asks="Drop the triggers of {stream} and all deletions that they have recorded?",
    ),
    Doing(("tombstones", "purge"), "tombstones-purge"),
)
AT_ONCE: Mapping[str, tuple[str, ...]] = {"look": ("status", "--exact"), "check": ("check",)}
"""Acts that a command does in its own process, and by a run with ``--as-run``."""
