"""What relations have at all, as far as their survey depends on it: to plan it takes a server longer than to answer it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Traits:
    """Of all relations that are asked about together.

    :ivar has_family: partitions, inherited children, or a table that it is a partition of.
    :ivar has_default: of the cursor field, as is ``is_generated``. :ivar has_domains: columns of such types.
    :ivar is_subscribed: a subscription brings rows to some table of the database.
    :ivar is_kept_otherwise: by a table access method of somebody's own. :ivar are_recorded: there are tombstones."""

    has_family: bool
    has_triggers: bool
    has_default: bool
    is_generated: bool
    has_domains: bool
    is_subscribed: bool
    is_kept_otherwise: bool
    are_recorded: bool

    @classmethod
    def of(cls, told: Sequence[dict[str, Any]], cursors: Sequence[str], *, recorded: bool) -> Self:
        """:param told: of each relation. :param cursors: their cursor fields."""
        relations = [facts["relation"] for facts in told if facts["relation"]]
        columns = [column for facts in told for column in facts["columns"] or ()]
        stamped = [
            column
            for facts, cursor in zip(told, cursors, strict=True)
            for column in facts["columns"] or ()
            if column["name"] == cursor
        ]
        return cls(
            has_family=any(relation["family"] for relation in relations),
            has_triggers=any(relation["triggers"] for relation in relations),
            has_default=any(column["has_default"] for column in stamped),
            is_generated=any(column["generated"] for column in stamped),
            has_domains=any(column["kind"] == "d" for column in columns),
            is_subscribed=any(facts["subscribed"] for facts in told),
            is_kept_otherwise=not all(relation["heap"] for relation in relations),
            are_recorded=recorded,
        )
