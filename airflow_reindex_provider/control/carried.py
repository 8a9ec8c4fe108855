"""What a Dag says of the streams that it carries. It is part of the serialised Dag: whoever shows streams reads it there, and
imports nobody's Dag files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_reindex_provider.stream import Stream

REINDEX = "reindex"
REBUILD = "rebuild"
SWEEP = "sweep"
ROLES = (REINDEX, REBUILD, SWEEP)
"""What a Dag does for a stream, by its task that says so."""
_FIELD = "reindex_stream"


@dataclass(frozen=True, slots=True)
class Carried:
    """One stream of one Dag. :ivar role: one of ``ROLES``. :ivar store: the kind of its checkpoint store."""

    stream: str
    role: str
    source: str
    target: str
    guarantee: str
    store: str
    groups: bool


def carried(stream: Stream, role: str) -> str:
    """For the argument ``doc_json`` of a task."""
    about = Carried(
        stream=stream.name,
        role=role,
        source=stream.source.label,
        target=stream.target.label,
        guarantee=str(stream.target.guarantee),
        store=type(stream.checkpoint).__name__,
        groups=stream.has_groups,
    )
    return json.dumps({_FIELD: asdict(about)}, sort_keys=True)


def read_carried(text: str | None) -> Carried | None:
    """None where the task says nothing of a stream, or says it in words of another version."""
    if not text or _FIELD not in text:
        return None
    try:
        found: Any = json.loads(text)[_FIELD]
        return Carried(**{name: found[name] for name in Carried.__slots__})
    except (ValueError, KeyError, TypeError):
        return None
