"""Arrow's types for columns, which are named as Postgres names them, and their values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.core.exact_json import dumps
from airflow_reindex_provider.targets.lists import listed, numbers_of
from airflow_reindex_provider.targets.texts import text_of

if TYPE_CHECKING:
    import pyarrow as pa

_SIMPLE = {
    "smallint": "int16",
    "integer": "int32",
    "bigint": "int64",
    "real": "float32",
    "double precision": "float64",
    # Of a decimal without a scale nobody knows how many digits it will have.
    "numeric": "float64",
    "boolean": "bool_",
    "bytea": "binary",
    "date": "date32",
}
_VECTOR = re.compile(r"(?:.*\.)?(?:vector|halfvec)(?:\((\d+)\))?")
_DECIMAL = re.compile(r"numeric\((\d+),(\d+)\)")
_MOST_DIGITS = 38
_TIMES = {"timestamp without time zone": None, "timestamp with time zone": "UTC"}


def arrow_type(kind: str) -> pa.DataType:
    """What a column of this type becomes; text where Arrow has nothing that is like it."""
    import pyarrow as pa

    if kind.endswith("[]"):
        return pa.list_(arrow_type(kind.removesuffix("[]")))
    if vector := _VECTOR.fullmatch(kind):
        return pa.list_(pa.float32(), int(vector[1])) if vector[1] else pa.list_(pa.float32())
    if (decimal := _DECIMAL.fullmatch(kind)) and int(decimal[2]) <= int(decimal[1]) <= _MOST_DIGITS:
        return pa.decimal128(int(decimal[1]), int(decimal[2]))
    if kind in _TIMES:
        return pa.timestamp("us", _TIMES[kind])
    if kind == "time without time zone":
        return pa.time64("us")
    name = _SIMPLE.get(kind.partition("(")[0])
    return getattr(pa, name)() if name else pa.string()


def is_loose_vector(kind: str) -> bool:
    """Whether it becomes a list of floats of any length."""
    import pyarrow as pa

    made = arrow_type(kind)
    return bool(pa.types.is_list(made) and pa.types.is_floating(made.value_type))


def value_for(kind: str) -> Callable[[Any], Any]:
    """What makes of a document's value, None apart, one that Arrow takes. It raises TypeError or ValueError for what is none."""
    if kind.endswith("[]"):
        inner = value_for(kind.removesuffix("[]"))
        return lambda value: [None if part is None else inner(part) for part in listed(value)]
    if vector := _VECTOR.fullmatch(kind):
        return numbers_of(int(vector[1]) if vector[1] else None)
    if kind in ("json", "jsonb"):
        return lambda value: dumps(value, default=text_of)
    return _BY_TYPE.get(kind.partition("(")[0] if _DECIMAL.fullmatch(kind) is None else kind, _as_is(kind))


def _as_is(kind: str) -> Callable[[Any], Any]:
    if _DECIMAL.fullmatch(kind):
        return lambda value: Decimal(str(value)) if isinstance(value, float) else value
    return (lambda value: value) if kind.partition("(")[0] in _SIMPLE else text_of


def _moment(value: Any) -> Any:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


_BY_TYPE: Mapping[str, Callable[[Any], Any]] = {
    "timestamp without time zone": _moment,
    "timestamp with time zone": _moment,
    "time without time zone": lambda value: time.fromisoformat(value) if isinstance(value, str) else value,
    "date": lambda value: date.fromisoformat(value) if isinstance(value, str) else value,
    "bytea": bytes,
    "numeric": float,
    "real": float,
    "double precision": float,
}
