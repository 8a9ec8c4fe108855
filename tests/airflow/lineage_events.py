"""Events of OpenLineage's file transport, as tests look at them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lineage_schemas import require_valid
from streams_under_test import until

_ENDS = ("COMPLETE", "FAIL")


def ended(lineage: Path, dag_id: str, *, runs: int = 1) -> dict[str, list[dict[str, Any]]]:
    """Those with which tries of the Dag's tasks ended, in the order of their times, by task; once so many of its runs have ended.
    Each is valid by OpenLineage's schemas."""

    def look() -> list[dict[str, Any]]:
        found = [json.loads(file.read_text()) for file in lineage.iterdir()]
        own = [e for e in found if e["job"]["name"].split(".")[0] == dag_id and e["eventType"] in _ENDS]
        return own if sum(event["job"]["name"] == dag_id for event in own) >= runs else []

    by_task: dict[str, list[dict[str, Any]]] = {}
    for event in sorted(until(look, f"the end of {dag_id}"), key=lambda event: event["eventTime"]):
        require_valid(event)
        by_task.setdefault(event["job"]["name"].removeprefix(dag_id).lstrip("."), []).append(event)
    return by_task


def written(event: dict[str, Any]) -> int:
    """Documents of its one output."""
    (output,) = event["outputs"]
    return int(output["outputFacets"]["outputStatistics"]["rowCount"])
