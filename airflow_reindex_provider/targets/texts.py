"""Values as texts, for indexes that have no type which is like the source's."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from airflow_reindex_provider.core.exact_json import dumps


def text_of(value: Any) -> str:
    """As Postgres' ``to_json`` writes it, without the quotes."""
    match value:
        case str():
            return value.value if isinstance(value, Enum) else value
        case bool():
            return "true" if value else "false"
        case Enum():
            return text_of(value.value)
        case datetime() | time():
            return value.isoformat()
        case bytes() | bytearray() | memoryview():
            return b64encode(value).decode()
        case Mapping() | list() | tuple():
            return dumps(value, default=text_of)
        case timedelta():
            raise TypeError("a timedelta has no text: give seconds, or a text")
        case int() | float() | Decimal() | date() | UUID():
            return str(value)
    raise TypeError(f"a {type(value).__name__} has no text")
