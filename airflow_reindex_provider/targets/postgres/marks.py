"""Comments by which a stream knows its tables and its view again."""

from __future__ import annotations

import json
from typing import Any

MARK = "airflow_reindex_provider"
_KINDS = {"v": "view", "m": "materialized view", "f": "foreign table", "S": "sequence", "i": "index", "c": "type"}
"""pg_class.relkind of what shares its names with views, tables apart."""


def mark(stream: str, **facts: bool) -> str:
    """The comment that says whose an object is. :param facts: ``indexed``, ``served``."""
    return json.dumps({MARK: {"stream": stream, **facts}})


def stream_of(comment: str | None) -> str | None:
    stream = mark_of(comment).get("stream")
    return None if stream is None else str(stream)


def mark_of(comment: str | None) -> dict[str, Any]:
    try:
        mark = json.loads(comment or "")[MARK]
    except (ValueError, KeyError, TypeError):
        return {}
    return mark if isinstance(mark, dict) else {}


def not_ours(label: str, schema: str, kind: str, owner: str | None, stream: str) -> str:
    """What has the public name. :param kind: its ``relkind``. :param owner: the stream whose it is, if it is one's."""
    what = _KINDS.get(kind, "table")
    whose = f"belongs to stream {owner!r}" if owner else "was not made by a stream"
    return (
        f"{label}: there is a {what} of this name in schema {schema!r}, and it {whose}. It is left alone: give stream {stream!r}"
        f" another index name, or rename the {what}."
    )
