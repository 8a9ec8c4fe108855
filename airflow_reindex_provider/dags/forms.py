"""The trigger forms of the Dags of a stream: their fields, with the words that people read there."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param

from airflow_reindex_provider.control.acts import ACTION, ACTS, ARGUMENTS
from airflow_reindex_provider.core.rebuilding.promoting import ALL, PER_GROUP, WAIT


def _optional(kind: str, **says: Any) -> Param:
    """A field that may be left empty."""
    return Param(None, type=[kind, "null"], **says)


WINDOW_PARAMS: dict[str, Param] = {
    "window_start": _optional(
        "string",
        format="date-time",
        title="Window start",
        description="Index the rows whose cursor lies at or after this, and leave the checkpoint alone. Empty: go on from"
        " the checkpoint; in a backfill, the interval of each run.",
    ),
    "window_end": _optional(
        "string",
        format="date-time",
        title="Window end",
        description="Stop before this cursor value. Empty: read as far as is safe; in a backfill, the end of the interval.",
    ),
    "dry_run": Param(
        False,
        type="boolean",
        title="Dry run",
        description="Plan and report how many rows and batches it would be; write nothing.",
    ),
}
"""Trigger form of a run; :class:`ReindexTaskGroup` reads these three where the Dag has them.

A stream with an integer cursor wants numbers: ``params={"window_start": Param(None, type=["integer", "null"]), ...}``.
"""

ACTION_PARAMS: dict[str, Param] = {
    ACTION: _optional(
        "string",
        enum=[None, *(act.name for act in ACTS.values() if not act.in_form)],
        title="Something else",
        description="What this run does instead of indexing. Empty: it indexes.",
    ),
    ARGUMENTS: _optional(
        "object",
        title="Its arguments",
        description="As JSON, by name. Empty where it needs none.",
    ),
}
"""Fields of a run's trigger form, for what the page and the command line do by a run."""

GROUPS_PARAM = Param(
    None,
    type=["array", "null"],
    items={"type": "string"},
    title="Groups",
    description="Values, one a line. Empty: all groups that are served.",
)
"""Field ``groups`` of the forms of a stream with groups."""

WAIT_PARAM = Param(
    False,
    type="boolean",
    title="Wait for others",
    description="Where another rebuild or sweep works on the stream, wait for it without a worker, as long as the Dag's"
    " max_wait says. Otherwise this run fails at once and says who it is. A scheduled run waits anyway.",
)
"""Field ``wait`` of the forms of those that want the stream for themselves."""

REBUILD_PARAMS: dict[str, Param] = {
    "promote": Param(
        "automatic",
        enum=["automatic", "wait"],
        title="Promote",
        description="wait: a person approves the swap, once the new index is verified.",
    ),
    "max_lag_s": _optional(
        "number",
        exclusiveMinimum=0,
        title="Lag in seconds",
        description="Catching up ends with a window that took no longer than this. Empty: as the Dag says.",
    ),
    "throttle_docs_per_s": Param(
        0,
        type="number",
        minimum=0,
        title="Documents a second",
        description="Of all tasks of the copy together, at the most. 0: as fast as it goes.",
    ),
    "rollback_to": _optional(
        "string",
        title="Roll back to",
        description="previous, or the name of a generation that was served: bring it up to date and serve it again, instead of"
        " a rebuild.",
    ),
    "wait": WAIT_PARAM,
}
"""Trigger form of a rebuild."""

GROUP_REBUILD_PARAMS: dict[str, Param] = {
    **REBUILD_PARAMS,
    "promote": Param(
        PER_GROUP,
        enum=[PER_GROUP, ALL, WAIT],
        title="Promote",
        description="per_group: each group as soon as it is verified. all: none before all are. wait: the same, and a person"
        " approves.",
    ),
    "groups": GROUPS_PARAM,
    "rollback_to": Param(
        None,
        enum=[None, "previous"],
        title="Roll back to",
        description="previous: bring each group's generation before the live one up to date and serve it again, instead of a"
        " rebuild.",
    ),
}
"""Trigger form of a rebuild of a stream with groups."""

SWEEP_PARAMS: dict[str, Param] = {
    "dry_run": Param(
        False,
        type="boolean",
        title="Dry run",
        description="Compare and report what differs; write nothing.",
    ),
    "max_delete_fraction": Param(
        0.05,
        type="number",
        minimum=0,
        maximum=1,
        title="Part of the index that may be deleted",
        description="With more orphans than this the sweep fails and repairs nothing.",
    ),
    "compare": Param(
        "versions",
        enum=["versions", "content"],
        title="What is compared",
        description="versions: keys and versions. content: values too, for rows changed without their cursor field.",
    ),
    "wait": WAIT_PARAM,
}
"""Trigger form of a sweep."""

MAINTENANCE_PARAMS: dict[str, Param] = {
    "dry_run": _optional(
        "boolean",
        title="Dry run",
        description="List what would go, and drop nothing. Empty: so it is until a run of this Dag has succeeded.",
    ),
    "gone": _optional(
        "array",
        items={"type": "string"},
        title="Streams that are gone",
        description="Names, one a line: all that was made for them goes. A stream that no Dag names is left alone otherwise.",
    ),
}
"""Trigger form of a clean-up."""
