"""Events of OpenLineage, judged by its own JSON schemas, which lie in `vendored/openlineage`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

_FOLDER = Path(__file__).parent / "vendored" / "openlineage"


@cache
def _schemas() -> dict[str, dict[str, Any]]:
    """By name of the file."""
    return {file.stem: json.loads(file.read_text()) for file in _FOLDER.glob("*.json")}


@cache
def _registry() -> Registry[Any]:
    return Registry().with_resources((s["$id"], Resource.from_contents(s)) for s in _schemas().values())


def require_valid(event: Mapping[str, Any]) -> None:
    """The event as a whole, and each facet by the schema that it names itself; of those of Airflow's provider, the ones that are
    OpenLineage's."""
    _validate(event, _schemas()["OpenLineage"]["$id"] + "#/$defs/RunEvent")
    for name, facet in _facets(event):
        found = re.fullmatch(
            r"https://openlineage\.io/spec/facets/([\d-]+)/(\w+)\.json#/\$defs/\w+", facet["_schemaURL"]
        )
        if found is None:
            continue
        schema = _schemas()[found[2]]
        _validate({name: facet}, schema["$id"])


def _facets(event: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for holder in (event["run"], event["job"], *event.get("inputs", ()), *event.get("outputs", ())):
        for kind in ("facets", "inputFacets", "outputFacets"):
            yield from (holder.get(kind) or {}).items()


def _validate(value: Any, reference: str) -> None:
    Draft202012Validator({"$ref": reference}, registry=_registry(), format_checker=FormatChecker()).validate(value)
