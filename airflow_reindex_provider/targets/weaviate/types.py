"""Weaviate's types for columns, which are named as Postgres names them, and their values."""

from __future__ import annotations

import math
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from airflow_reindex_provider.core.exact_json import dumps
from airflow_reindex_provider.targets.lists import listed, numbers_of
from airflow_reindex_provider.targets.texts import text_of

_SIMPLE = {
    "smallint": "int",
    "integer": "int",
    "bigint": "int",
    "real": "number",
    "double precision": "number",
    "numeric": "number",
    "boolean": "boolean",
    "bytea": "blob",
    "date": "date",
    "timestamp with time zone": "date",
    "timestamp without time zone": "date",
    "uuid": "uuid",
}
_LARGEST_WHOLE = 2**53
"""Numbers are sent as doubles: beyond it not each whole number is one."""
_VECTOR = re.compile(r"(?:.*\.)?(?:vector|halfvec)(?:\((\d+)\))?")


def weaviate_type(kind: str) -> str:
    """Of the property that a column of this type becomes, ``vector`` where it becomes a vector."""
    if is_vector(kind):
        return "vector"
    if kind.endswith("[]"):
        inner = weaviate_type(kind.removesuffix("[]"))
        # A list of lists, of vectors or of files is none of Weaviate's types.
        return "text" if inner.endswith("[]") or inner in ("vector", "blob") else f"{inner}[]"
    return _SIMPLE.get(_base(kind), "text")


def is_vector(kind: str) -> bool:
    return _VECTOR.fullmatch(kind) is not None


def value_for(kind: str) -> Callable[[Any], Any]:
    """What makes of a document's value, None apart, one that Weaviate takes. It raises TypeError or ValueError for others."""
    if vector := _VECTOR.fullmatch(kind):
        return _vector(int(vector[1]) if vector[1] else None)
    if kind.endswith("[]"):
        if weaviate_type(kind) == "text":
            return _json
        inner = value_for(kind.removesuffix("[]"))
        return lambda value: [_part(inner, part) for part in listed(value)]
    if kind in ("json", "jsonb"):
        return _json
    return _BY_TYPE.get(weaviate_type(kind), _text)


def same(one: Any, other: Any) -> bool:
    """Whether a value that was sent is one that came back."""
    if isinstance(other, datetime):
        return isinstance(one, str) and datetime.fromisoformat(one) == other
    if isinstance(other, UUID):
        return bool(one == str(other))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    # Of an empty list nothing comes back.
    return bool(one == other) or (one == [] and other is None)


def _base(kind: str) -> str:
    return re.sub(r"\([^)]*\)", "", kind)


def _part(inner: Callable[[Any], Any], part: Any) -> Any:
    if part is None:
        raise ValueError("a list with NULL in it, which Weaviate does not take")
    return inner(part)


def _vector(length: int | None) -> Callable[[Any], list[float]]:
    numbers = numbers_of(length)

    def directed(value: Any) -> list[float]:
        found = numbers(value)
        if not any(found):
            raise ValueError("a vector that is empty or of noughts alone, which has no direction for a cosine")
        return found

    return directed


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"a {type(value).__name__} is no whole number")
    if abs(value) > _LARGEST_WHOLE:
        raise ValueError(
            "a whole number beyond 2**53, of which Weaviate would keep another one; declare the column a text in columns="
        )
    return value


def _number(value: Any) -> float:
    found = float(value)
    if not math.isfinite(found):
        raise ValueError("NaN or infinity, which is no number to Weaviate")
    return found


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"a {type(value).__name__} is no boolean")
    return value


def _moment(value: Any) -> str:
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(found, datetime):
        if not isinstance(found, date):
            raise TypeError(f"a {type(value).__name__} is no date")
        found = datetime(found.year, found.month, found.day, tzinfo=UTC)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).isoformat()


def _text(value: Any) -> str:
    text = text_of(value)
    # Half of a surrogate pair is no character, and UTF-8 cannot have it.
    text.encode()
    return text


def _json(value: Any) -> str:
    return _text(dumps(value, default=text_of))


_BY_TYPE: Mapping[str, Callable[[Any], Any]] = {
    "int": _whole,
    "number": _number,
    "boolean": _truth,
    "blob": lambda value: b64encode(bytes(value)).decode(),
    "date": _moment,
    "uuid": lambda value: str(UUID(str(value))),
}
