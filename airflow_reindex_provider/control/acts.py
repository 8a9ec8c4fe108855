"""All that can be done to a stream: one list for the page, the REST API and the command line.

Each is a run of one of the stream's Dags, so that connections, pools, retries and the audit log are Airflow's. The first ones
fill in the Dag's trigger form; the others have a name in ``action`` of the run's conf, and the planning task of the stream's
ReindexDag does them instead of planning.

Standard library only, until arguments are looked at: every ``airflow`` command reads this list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_reindex_provider.control.carried import REBUILD, REINDEX, SWEEP
from airflow_reindex_provider.core.errors import ConfigurationError

ACTION, ARGUMENTS, STREAM = "action", "arguments", "stream"
"""Keys of the conf of a run that does something else than indexing; the stream is named where its Dag carries several."""

_TEXT = {"type": "string", "minLength": 1}
_YES_NO = {"type": "boolean"}
_KEYS = {"type": "array", "items": {"type": "array", "items": {"type": "string"}, "minItems": 1}, "minItems": 1}
_VALUE = {"type": ["string", "integer"]}


class UnknownArgumentsError(ConfigurationError):
    """The arguments do not fit what was asked for."""


@dataclass(frozen=True, slots=True)
class Act:
    """Something that can be done.

    :ivar says: what will happen, for whoever is about to do it. :ivar role: the Dag that does it. :ivar properties: JSON Schema
        of each argument. :ivar needed: arguments that must be given. :ivar in_form: whether the arguments are fields of the Dag's
        trigger form, and not those of an action. :ivar fixed: what the form is given besides. :ivar writes: whether it changes
        anything. :ivar touches_store: whether it changes what the checkpoint store keeps, in another way than any run does."""

    name: str
    role: str
    says: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    needed: tuple[str, ...] = ()
    in_form: bool = False
    fixed: Mapping[str, Any] = field(default_factory=dict)
    writes: bool = True
    touches_store: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": dict(self.properties),
            "required": list(self.needed),
            "additionalProperties": False,
        }

    def checked(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Those that were given. :raises UnknownArgumentsError: names the argument, and says what is wrong with it."""
        import jsonschema

        given = {name: value for name, value in arguments.items() if value is not None}
        try:
            jsonschema.validate(given, self.schema)
        except jsonschema.ValidationError as error:
            place = ".".join(map(str, error.absolute_path))
            takes = ", ".join(self.properties) or "none"
            raise UnknownArgumentsError(
                f"{self.name}{f', argument {place!r}' if place else ''}: {error.message}. Its arguments are: {takes}."
            ) from None
        return given

    def conf(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Of the run that does it. :raises UnknownArgumentsError: see :meth:`checked`."""
        given = self.checked(arguments)
        if self.in_form:
            return {**self.fixed, **given}
        return {ACTION: self.name, **({ARGUMENTS: given} if given else {})}


_SWEEP_FORM = {
    "max_delete_fraction": {"type": "number", "minimum": 0, "maximum": 1},
    "compare": {"enum": ["versions", "content"]},
    "wait": _YES_NO,
}
_REBUILD_FORM = {
    "max_lag_s": {"type": "number", "exclusiveMinimum": 0},
    "throttle_docs_per_s": {"type": "number", "minimum": 0},
    "groups": {"type": "array", "items": _TEXT},
    "wait": _YES_NO,
}
_DRY = {"dry_run": _YES_NO}

ACTS: dict[str, Act] = {
    act.name: act
    for act in (
        Act("run", REINDEX, "Indexes what has changed since the checkpoint.", in_form=True),
        Act(
            "range",
            REINDEX,
            "Indexes the rows of a range of cursor values again; the checkpoint stays where it is.",
            {"window_start": _VALUE, "window_end": _VALUE},
            needed=("window_start",),
            in_form=True,
        ),
        Act(
            "dry-run",
            REINDEX,
            "Plans, and says how many rows a run would index; writes nothing.",
            {"window_start": _VALUE, "window_end": _VALUE},
            in_form=True,
            fixed={"dry_run": True},
            writes=False,
        ),
        Act(
            "rebuild",
            REBUILD,
            "Makes the index anew beside the live one, and swaps it in once it is verified.",
            {**_REBUILD_FORM, "promote": _TEXT},
            in_form=True,
        ),
        Act(
            "rollback",
            REBUILD,
            "Brings a generation that was served before up to date, and serves it again.",
            {"rollback_to": _TEXT, "groups": _REBUILD_FORM["groups"], "wait": _YES_NO},
            needed=("rollback_to",),
            in_form=True,
        ),
        Act(
            "sweep",
            SWEEP,
            "Compares source and index, and repairs what differs.",
            _SWEEP_FORM,
            in_form=True,
        ),
        Act(
            "sweep-dry-run",
            SWEEP,
            "Compares source and index, and says what differs; writes nothing.",
            _SWEEP_FORM,
            in_form=True,
            fixed={"dry_run": True},
            writes=False,
        ),
        Act("look", REINDEX, "Asks the source how many changes wait, and how old the oldest is.", writes=False),
        Act(
            "check", REINDEX, "Checks connections, rights, indexes, triggers and clocks; writes nothing.", writes=False
        ),
        Act("refresh", REINDEX, "Looks at the target and the checkpoint store again; writes nothing.", writes=False),
        Act(
            "parked-retry",
            REINDEX,
            "Lets the next run try parked documents again: those named, else all of them.",
            {"keys": _KEYS},
            touches_store=True,
        ),
        Act(
            "parked-drop",
            REINDEX,
            "Gives parked documents up: they stay out of the index until their rows change. Those named, else all of them.",
            {"keys": _KEYS},
            touches_store=True,
        ),
        Act(
            "checkpoint-set",
            REINDEX,
            "Sets the checkpoint to a cursor value: the next run reads on from there.",
            {"cursor": _VALUE, "key": {"type": "array", "items": {"type": "string"}}},
            needed=("cursor",),
            touches_store=True,
        ),
        Act(
            "checkpoint-reset",
            REINDEX,
            "Forgets the checkpoint: the next run reads from the first row on.",
            touches_store=True,
        ),
        Act(
            "checkpoint-move",
            REINDEX,
            "Moves all that is kept of the stream to another store, parked documents included.",
            {"to": {"enum": ["variable", "table", "asset"]}, "conn_id": _TEXT, "name": _TEXT, **_DRY},
            needed=("to",),
            touches_store=True,
        ),
        Act(
            "rename",
            REINDEX,
            "Gives the stream's index and checkpoints to a stream of another name.",
            {"name": _TEXT, **_DRY},
            needed=("name",),
            touches_store=True,
        ),
        Act(
            "remove",
            REINDEX,
            "Removes all that was made for the stream: its public name, every generation, its checkpoints.",
            _DRY,
            touches_store=True,
        ),
        Act("accept-changes", REINDEX, "Forgets which source and index the stream had before.", touches_store=True),
        Act("tombstones-ddl", REINDEX, "Shows the statements that record deletions at the source.", writes=False),
        Act(
            "tombstones-install", REINDEX, "Makes the table and the triggers that record deletions.", {"conn_id": _TEXT}
        ),
        Act(
            "tombstones-remove", REINDEX, "Drops the triggers and the table that record deletions.", {"conn_id": _TEXT}
        ),
        Act(
            "tombstones-purge",
            REINDEX,
            "Deletes recorded deletions that are old and that every generation has passed.",
            {"older_than_days": {"type": "number", "minimum": 0}, "conn_id": _TEXT},
            needed=("older_than_days",),
        ),
    )
}
"""By name, in the order in which people are offered them."""


def act_of(name: str) -> Act:
    """:raises UnknownArgumentsError: there is none of this name."""
    if name not in ACTS:
        raise UnknownArgumentsError(
            f"There is nothing called {name!r} to do to a stream. There are: {', '.join(ACTS)}."
        )
    return ACTS[name]
