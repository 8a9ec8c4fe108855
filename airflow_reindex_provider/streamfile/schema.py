"""The JSON Schema of a file of streams, for editors: made from the same models that read it."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from airflow_reindex_provider.streamfile.jobs import JOBS, OF_ALL, job_model, watch_model
from airflow_reindex_provider.streamfile.models import stream_model
from airflow_reindex_provider.streamfile.reading import VERSION

_VARIABLE = {"type": "string", "pattern": r"\$\{"}
"""Where a number or a word of a list is wanted, a variable of the environment may stand."""


def file_schema() -> dict[str, Any]:
    """Nothing but ``version`` and ``streams`` is required in it: what a stream lacks, the defaults may have."""
    models = [stream_model(), watch_model(), *map(job_model, (*JOBS, *OF_ALL))]
    _, made = models_json_schema([(model, "validation") for model in models], ref_template="#/$defs/{model}")
    definitions = {name: _eased(schema) for name, schema in made["$defs"].items()}
    stream = definitions.pop(stream_model().__name__)
    several = {job: _one_or_several(job) for job in (*JOBS, *OF_ALL)}
    for job in JOBS:
        stream["properties"][job] = {**several[job], "description": f"Its {job} Dag."}
    stream["properties"]["watch"] = {
        "$ref": f"#/$defs/{watch_model().__name__}",
        "description": "What is promised of it; {} for what a Watch has by itself.",
    }
    stream["properties"]["enabled"] = {"type": "boolean", "description": "Whether it has Dags.", "default": True}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Streams of airflow-reindex-provider",
        "type": "object",
        "required": ["version", "streams"],
        "additionalProperties": False,
        "properties": {
            "version": {"const": VERSION},
            "defaults": {"$ref": "#/$defs/Stream", "description": "What every stream has that does not say otherwise."},
            **{job: {**several[job], "description": f"The {job} Dag of all streams."} for job in OF_ALL},
            "streams": {
                "type": "object",
                "description": "The streams, by name.",
                "additionalProperties": {"$ref": "#/$defs/Stream"},
            },
        },
        "$defs": {"Stream": stream, **definitions},
    }


def _one_or_several(job: str) -> dict[str, Any]:
    one = {"$ref": f"#/$defs/{job_model(job).__name__}"}
    return {"anyOf": [one, {"type": "array", "items": one}]}


def _eased(schema: Any) -> Any:
    """As a part may be that the defaults complete: nothing is required but that an object of one's own says what it is."""
    if isinstance(schema, list):
        return [_eased(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    if "oneOf" in schema:
        # By their type, which may stand in the defaults: then one that fits is enough.
        return {"type": "object", "anyOf": schema["oneOf"], **_described(schema)}
    if schema.get("type") in ("integer", "number", "boolean") or "enum" in schema:
        value = {key: inner for key, inner in schema.items() if key not in ("title", "description", "default")}
        return {"anyOf": [value, _VARIABLE], **_described(schema)}
    dropped = {"title"} if isinstance(schema.get("title"), str) else set()
    if schema.get("additionalProperties") is False:
        dropped.add("required")
    if schema.get("default", ...) is None:
        dropped.add("default")
    return {key: _eased(inner) for key, inner in schema.items() if key not in dropped}


def _described(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": schema["description"]} if "description" in schema else {}
