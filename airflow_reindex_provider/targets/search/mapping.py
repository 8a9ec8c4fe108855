"""The mapping of an OpenSearch or Elasticsearch index, from the source's column types and what the author says of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from airflow_reindex_provider.core.bulk import is_vector, vector_length
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Field, Schema
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


def index_mapping(
    schema: Schema, given: Mapping[str, Any], vector: VectorField, nested: Collection[str] = ()
) -> dict[str, Any]:
    """The author's mapping, with a property for each column that it does not name.

    :param nested: paths of children whose objects are searched one by one.

    :raises ConfigurationError: the source has no such children."""
    known = set(_paths(schema.fields))
    if unknown := [path for path in nested if path not in known]:
        raise ConfigurationError(
            f"nested names {unknown[0]!r}, which is no child of the source. It has: {', '.join(sorted(known)) or 'none'}."
        )
    derived = _properties(schema.fields, vector, nested)
    return {**given, "properties": {**derived, **given.get("properties", {})}}


def _properties(
    fields: Sequence[Field], vector: VectorField, nested: Collection[str], above: str = ""
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in fields:
        path = above + field.name
        found[field.name] = field_mapping(field.type, vector)
        if field.fields:
            kind = "nested" if path in nested else "object"
            found[field.name] = {"type": kind, "properties": _properties(field.fields, vector, nested, f"{path}.")}
    return found


def _paths(fields: Sequence[Field], above: str = "") -> Iterator[str]:
    """Of what stands for rows of other tables."""
    for field in fields:
        if field.fields:
            yield above + field.name
            yield from _paths(field.fields, f"{above}{field.name}.")


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
