"""Comments by which a stream knows its tables and its view again."""

from __future__ import annotations

import json
from typing import Any

MARK = "airflow_reindex_provider"


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
