"""Arguments of an act as options of a command, from their JSON Schemas."""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from airflow.cli.cli_config import Arg

_SPELLED = {"groups": "--group", "keys": "--key", "wait": "--wait-for-others"}
"""Flags that are not called like their arguments: they are given again and again, or would be taken for something else."""
_LEAST_INTERVAL_S = 0.2
_SHOWN = {"rollback_to": "GENERATION", "name": "NAME", "to": "STORE", "cursor": "CURSOR"}
_KEY_HELP = 'A key of several parts is a JSON list: \'["7", "blue"]\'. Give the option again for each.'


def argument(*flags: str, **kwargs: Any) -> Arg:
    """As ``add_argument`` of a parser takes it."""
    return Arg(flags, **kwargs)  # type: ignore[no-untyped-call]  # Airflow leaves it untyped


def option(name: str, schema: Mapping[str, Any], *, required: bool) -> Arg:
    """A flag. The namespace has its value under the argument's name, None where it is not given."""
    flag = _SPELLED.get(name, f"--{name.replace('_', '-')}")
    said, kind = str(schema["description"]), schema.get("type")
    if kind == "boolean":
        return argument(flag, help=said, action="store_true", default=None, dest=name)
    if kind == "array" and schema["items"].get("type") == "array":
        return argument(flag, help=f"{said} {_KEY_HELP}", action="append", type=key_parts, metavar="KEY", dest=name)
    if kind == "array":
        text = f"{said} Give the option again for each."
        return argument(flag, help=text, action="append", metavar="TEXT", dest=name)
    metavar = "NUMBER" if kind == "number" else "VALUE"
    return argument(flag, help=said, dest=name, required=required, **_value(schema, metavar))


def positional(name: str, schema: Mapping[str, Any], *, default: str | None) -> Arg:
    """An argument without a flag; with a default it may be left out."""
    optional = {} if default is None else {"nargs": "?", "default": default}
    text = str(schema["description"]) + (f" Default: {default}." if default else "")
    shown = {} if "enum" in schema else {"metavar": _SHOWN[name]}
    return argument(name, help=text, **{**_value(schema, ""), **optional, **shown})


def _value(schema: Mapping[str, Any], metavar: str) -> dict[str, Any]:
    if "enum" in schema:
        return {"choices": tuple(schema["enum"])}
    kinds = {"number": number, "string": str}
    kind = schema.get("type")
    return {"type": kinds[kind] if isinstance(kind, str) else cursor_value, "metavar": metavar}


def number(text: str) -> float:
    """:raises ValueError: it is none, or one without an end."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def seconds(text: str) -> float:
    """:raises ValueError: it is no number, or below 0."""
    value = number(text)
    if value < 0:
        raise ValueError(text)
    return value


def interval(text: str) -> float:
    """Seconds, not so few that looking is all that is done.

    :raises ValueError: see :func:`seconds`."""
    return max(seconds(text), _LEAST_INTERVAL_S)


def cursor_value(text: str) -> str | int:
    """A number, where it is one; else text."""
    return int(text) if re.fullmatch(r"-?\d+", text) else text


def key_parts(text: str) -> list[str]:
    """:raises argparse.ArgumentTypeError: it begins like a JSON list, and is not one of texts."""
    if not text.startswith("["):
        return [text]
    try:
        parts = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON list: {error}") from None
    if not parts or not all(isinstance(part, str) for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} has to be a list of texts, one for each part of the key")
    return list(parts)


def key_text(parts: Iterable[str]) -> str:
    """As :func:`key_parts` reads it."""
    told = list(parts)
    return told[0] if len(told) == 1 and not told[0].startswith("[") else json.dumps(told, ensure_ascii=False)
