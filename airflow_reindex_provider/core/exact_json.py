"""JSON to the last digit: a decimal is a number, of as many digits as it has, and not a float."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any


def dumps(value: Any, *, default: Callable[[Any], Any] | None = None, ascii: bool = False) -> str:
    """:param default: makes of what JSON has no form for something that it has one for. :param ascii: other characters are
        escaped.

    :raises TypeError: there is none."""

    def other(inner: Any) -> Any:
        if isinstance(inner, Decimal):
            raise _DecimalError
        if default is None:
            raise TypeError(f"a {type(inner).__name__} has no form in JSON")
        return default(inner)

    try:
        return json.dumps(value, default=other, ensure_ascii=ascii)
    except _DecimalError:
        return _written(value, default, ascii)


def iso(text: str) -> str:
    """A time in ISO 8601 without the noughts at the end of a second's fraction."""
    head, dot, rest = text.partition(".")
    return f"{head}.{rest[:6].rstrip('0')}{rest[6:]}" if dot else text


def _written(value: Any, default: Callable[[Any], Any] | None, ascii: bool) -> str:
    match value:
        case Decimal():
            # NaN and infinity are no numbers in JSON; as texts they come wherever a text does.
            return str(value) if value.is_finite() else '"NaN"' if value.is_nan() else f'"{value}"'
        case Mapping():
            members = (f"{_name(k, ascii)}: {_written(v, default, ascii)}" for k, v in value.items())
            return "{" + ", ".join(members) + "}"
        case list() | tuple():
            return "[" + ", ".join(_written(v, default, ascii) for v in value) + "]"
    return dumps(value, default=default, ascii=ascii)


def _name(key: Any, ascii: bool) -> str:
    """As ``json`` has it: numbers, true, false and null become texts."""
    text = json.dumps(key, ensure_ascii=ascii)
    return text if isinstance(key, str) else f'"{text}"'


class _DecimalError(Exception):
    """There is one in it."""
