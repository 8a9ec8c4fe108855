"""All that can be done to a stream: one list for the page, the REST API and the command line.

Each is a run of one of the stream's Dags, so that connections, pools, retries and the audit log are Airflow's. The first ones
fill in the Dag's trigger form; the others have a name in ``action`` of the run's conf, and the planning task of the stream's
ReindexDag does them instead of planning.

Standard library only, until arguments are looked at: every ``airflow`` command reads this list.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_reindex_provider.control.carried import REBUILD, REINDEX, SWEEP
from airflow_reindex_provider.core.errors import ConfigurationError

ACTION, ARGUMENTS, STREAM = "action", "arguments", "stream"
"""Keys of the conf of a run that does something else than indexing; the stream is named where its Dag carries several."""

_TEXT = {"type": "string", "minLength": 1}
_VALUE = {"type": ["string", "integer"]}


def _said(schema: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {**schema, "description": description}


_GROUP = {"group": _said(_TEXT, "Of a stream with groups: the value of one of them.")}
_KEYS = _said(
    {"type": "array", "items": {"type": "array", "items": {"type": "string"}, "minItems": 1}, "minItems": 1},
    "Keys of parked documents, each a list of its parts. Default: all that are parked.",
)


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

    def schema_for(self, fields: Collection[str]) -> dict[str, Any]:
        """Of the arguments that a Dag takes. :param fields: of its trigger form; somebody's own Dag may have none of ours."""
        known = [name for name in self.properties if name in fields]
        if not self.in_form or not known:
            return self.schema
        return {**self.schema, "properties": {name: self.properties[name] for name in known}}

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


_WINDOW = {
    "window_start": _said(_VALUE, "First cursor value of the range: ISO 8601, or a number."),
    "window_end": _said(_VALUE, "Cursor value to stop before. Default: as far as is safe to read."),
}
_WAIT = {"wait": _said({"type": "boolean"}, "Where another rebuild or sweep holds the stream, wait for it.")}
_SWEEP_FORM = {
    "max_delete_fraction": _said(
        {"type": "number", "minimum": 0, "maximum": 1},
        "Part of the index that may be deleted. Default: as the Dag's form says.",
    ),
    "compare": _said(
        {"enum": ["versions", "content"]},
        "versions: keys and versions. content: values too, for rows changed without their cursor field.",
    ),
    **_WAIT,
}
_GROUPS = {
    "groups": _said({"type": "array", "items": _TEXT}, "Values of the groups. Default: all groups that are served."),
}
_REBUILD_FORM = {
    "max_lag_s": _said(
        {"type": "number", "exclusiveMinimum": 0},
        "Catching up ends with a window that took no longer than these seconds. Default: as the Dag says.",
    ),
    "throttle_docs_per_s": _said(
        {"type": "number", "minimum": 0}, "Documents a second of the whole copy, at the most. 0: as fast as it goes."
    ),
    **_GROUPS,
    **_WAIT,
}
_DRY = {"dry_run": _said({"type": "boolean"}, "Say what would be done, and do nothing.")}
_CONN_ID = _said(_TEXT, "Connection to do it with. Default: the source's own.")

ACTS: dict[str, Act] = {
    act.name: act
    for act in (
        Act("run", REINDEX, "Indexes what has changed since the checkpoint.", in_form=True),
        Act(
            "range",
            REINDEX,
            "Indexes the rows of a range of cursor values again; the checkpoint stays where it is.",
            _WINDOW,
            needed=("window_start",),
            in_form=True,
        ),
        Act(
            "dry-run",
            REINDEX,
            "Plans, and says how many rows a run would index; writes nothing.",
            _WINDOW,
            in_form=True,
            fixed={"dry_run": True},
            writes=False,
        ),
        Act(
            "rebuild",
            REBUILD,
            "Makes the index anew beside the live one, and swaps it in once it is verified.",
            {
                **_REBUILD_FORM,
                "promote": _said(
                    _TEXT,
                    "automatic, or wait for a person's approval; of a stream with groups per_group, all or wait. Default: as the"
                    " Dag's form says.",
                ),
            },
            in_form=True,
        ),
        Act(
            "rollback",
            REBUILD,
            "Brings a generation that was served before up to date, and serves it again.",
            {"rollback_to": _said(_TEXT, "previous, or the name of a generation that was served."), **_GROUPS, **_WAIT},
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
            {"keys": _KEYS, **_GROUP},
            touches_store=True,
        ),
        Act(
            "parked-drop",
            REINDEX,
            "Gives parked documents up: they stay out of the index until their rows change. Those named, else all of them.",
            {"keys": _KEYS, **_GROUP},
            touches_store=True,
        ),
        Act(
            "checkpoint-set",
            REINDEX,
            "Sets the checkpoint to a cursor value: the next run reads on from there.",
            {
                "cursor": _said(_VALUE, "Cursor value to go on from: ISO 8601, or a number."),
                "key": _said(
                    {"type": "array", "items": {"type": "string"}},
                    "Parts of the key of the first row to read at that value. Default: all rows at that value are read.",
                ),
                **_GROUP,
            },
            needed=("cursor",),
            touches_store=True,
        ),
        Act(
            "checkpoint-reset",
            REINDEX,
            "Forgets the checkpoint: the next run reads from the first row on.",
            _GROUP,
            touches_store=True,
        ),
        Act(
            "checkpoint-move",
            REINDEX,
            "Moves all that is kept of the stream to another store, parked documents included.",
            {
                "to": _said({"enum": ["variable", "table", "asset"]}, "Kind of the other store."),
                "conn_id": _said(_TEXT, "Connection of the table; for a table alone."),
                "name": _said(
                    _TEXT, "Of the table or the asset, or the prefix of the Variables. Default: as a Stream has it."
                ),
                **_DRY,
            },
            needed=("to",),
            touches_store=True,
        ),
        Act(
            "rename",
            REINDEX,
            "Gives the stream's index and checkpoints to a stream of another name.",
            {"name": _said(_TEXT, "The new name of the stream."), **_DRY},
            needed=("name",),
            touches_store=True,
        ),
        Act(
            "remove",
            REINDEX,
            "Removes all that was made for the stream: its public name, every generation, its checkpoints.",
            {
                "tombstones": _said(
                    {"type": "boolean"}, "Drop what records deletions at the source too. Other streams may read it."
                ),
                "conn_id": _CONN_ID,
                **_DRY,
            },
            touches_store=True,
        ),
        Act("accept-changes", REINDEX, "Forgets which source and index the stream had before.", touches_store=True),
        Act("tombstones-ddl", REINDEX, "Shows the statements that record deletions at the source.", writes=False),
        Act(
            "tombstones-install",
            REINDEX,
            "Makes the table and the triggers that record deletions.",
            {"conn_id": _CONN_ID},
        ),
        Act(
            "tombstones-remove",
            REINDEX,
            "Drops the triggers and the table that record deletions.",
            {"conn_id": _CONN_ID},
        ),
        Act(
            "tombstones-purge",
            REINDEX,
            "Deletes recorded deletions that are old and that every generation has passed.",
            {
                "older_than_days": _said(
                    {"type": "number", "minimum": 0}, "Deletions recorded longer ago than this may go."
                ),
                "conn_id": _CONN_ID,
            },
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
