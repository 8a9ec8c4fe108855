"""Python's values as psycopg can write them into a column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from psycopg.types.json import Json

from airflow_reindex_provider.core.exact_json import dumps

_JSON = ("json", "jsonb")
_dumps = partial(dumps, ascii=True)


def in_column(value: Any, kind: str) -> Any:
    """:param kind: the column's type."""
    if value is None:
        return None
    if kind in _JSON or isinstance(value, dict):
        return Json(value, _dumps)
    if isinstance(value, (list, tuple)):
        if kind.endswith("[]"):
            return _array(value, kind[:-2])
        if kind.startswith(("vector", "halfvec")):
            return "[" + ",".join(map(str, value)) + "]"
        return Json(value, _dumps)
    return value


def _array(values: Sequence[Any], kind: str) -> list[Any]:
    """A list of any depth; in an array of JSON a list is an element."""

    def walk(values: Sequence[Any], leaf: Callable[[Any], Any]) -> list[Any]:
        return [walk(v, leaf) if isinstance(v, (list, tuple)) and kind not in _JSON else leaf(v) for v in values]

    leaves: list[Any] = []
    walk(values, leaves.append)
    if len({type(v) for v in leaves if v is not None}) > 1 and kind not in _JSON:
        # psycopg writes lists of one type. An infinite date, say, is a text among dates.
        return walk(values, lambda v: v if v is None or isinstance(v, str) else str(v))
    return walk(values, lambda v: in_column(v, kind))
