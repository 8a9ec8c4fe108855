"""The mapping of an OpenSearch or Elasticsearch index, from the source's column types and what the author says of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_reindex_provider.core.bulk import is_vector, vector_length
from airflow_reindex_provider.core.model import Schema
from airflow_reindex_provider.databases.postgres.types import fits

LONGEST_KEYWORD = 8191
"""Characters of a keyword that is searchable; longer ones stay in ``_source``. Lucene takes 32,766 bytes."""

_TEXT = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}
_KEYWORD = {"type": "keyword", "ignore_above": LONGEST_KEYWORD}
# Postgres knows NaN, infinity and dates that no engine has: such a value stays in _source and is not searchable.
_DOUBLE = {"type": "double", "ignore_malformed": True}
_DATE = {"type": "date", "ignore_malformed": True}
# JSON values of any kind may stand in a json column, and other ones under one name in each document; so may vectors of any length
# in a column that declares none.
_JSON = {"type": "object", "enabled": False}

_BY_TYPE: Mapping[str, Mapping[str, Any]] = {
    "text": _TEXT,
    "citext": _TEXT,
    "smallint": {"type": "short"},
    "integer": {"type": "integer"},
    "bigint": {"type": "long"},
    "numeric": _DOUBLE,
    "double precision": _DOUBLE,
    "real": {"type": "float", "ignore_malformed": True},
    "boolean": {"type": "boolean"},
    "timestamp with time zone": _DATE,
    "timestamp without time zone": _DATE,
    "date": _DATE,
    "inet": {"type": "ip", "ignore_malformed": True},
    "json": _JSON,
    "jsonb": _JSON,
    "bytea": {"type": "binary"},
}

VectorField = Callable[[int], Mapping[str, Any]]
"""The engine's field for a vector of so many dimensions."""


def field_mapping(type: str, vector: VectorField) -> Mapping[str, Any]:
    """What a column of this Postgres type becomes. An array is, to these engines, a field with several values."""
    if is_vector(type):
        length = vector_length(type)
        return vector(length) if length else _JSON
    element = type.rstrip("[]")
    return _BY_TYPE.get(element.partition("(")[0], _KEYWORD)


def index_mapping(schema: Schema, given: Mapping[str, Any], vector: VectorField) -> dict[str, Any]:
    """The author's mapping, with a property for each column that it does not name."""
    derived = {f.name: field_mapping(f.type, vector) for f in schema.fields}
    return {**given, "properties": {**derived, **given.get("properties", {})}}


def has_vectors(mapping: Mapping[str, Any]) -> bool:
    """Whether there is a field, within an object too, for which OpenSearch wants ``index.knn``."""
    fields = mapping.get("properties", {}).values()
    return any(field.get("type") == "knn_vector" or has_vectors(field) for field in fields)


def vector_fields(schema: Schema) -> frozenset[str]:
    """Those that the source has as vectors, which stand in documents as arrays of numbers."""
    return frozenset(f.name for f in schema.fields if is_vector(f.type))


def still_fits(now: str, before: str, vector: VectorField) -> bool:
    """Whether a field derived from a column of type ``before`` takes the values of type ``now``."""
    new, old = field_mapping(now, vector), field_mapping(before, vector)
    return new == old or (_JSON not in (new, old) and fits(now.rstrip("[]"), before.rstrip("[]"))) or old == _JSON
