"""Documents of Python values as the lines of a ``_bulk`` body, the same as Postgres writes of the same row."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec

from airflow_reindex_provider.core.bulk import VERSION_TYPE, document_id, engine_version
from airflow_reindex_provider.core.exact_json import iso
from airflow_reindex_provider.core.model import Document, Rejection

_encode = msgspec.json.Encoder(decimal_format="number").encode
_TOO_DEEP = "field {!r}: its values are nested too deeply"
_numbers = msgspec.json.Decoder(list[float]).decode


def bulk_lines(
    documents: Iterable[Document], rejected: list[Rejection], *, vectors: Collection[str] = ()
) -> Iterator[bytes]:
    """The lines of each document.

    :param rejected: gets those documents that hold what JSON has no form for.
    :param vectors: fields in which a vector may stand as its text, as Postgres gives it, for an array of numbers."""
    for document in documents:
        try:
            yield _lines(document, vectors)
        # Whatever is wrong with one document, and a value's class may raise anything, the others are none the worse for it.
        except Exception as error:
            rejected.append(Rejection(document.key, str(error) or type(error).__name__))


def _lines(document: Document, vectors: Collection[str]) -> bytes:
    name = {
        "_id": document_id(document.key),
        "version": engine_version(document.version),
        "version_type": VERSION_TYPE,
    }
    if document.fields is None:
        return _encode({"delete": name}) + b"\n"
    return _encode({"index": name}) + b"\n" + _content(_fields(document.fields, vectors)) + b"\n"


def _content(fields: Mapping[str, Any]) -> bytes:
    try:
        return _encode(fields)
    except (TypeError, ValueError, RecursionError):
        # The encoder does not say where it is.
        for name, value in fields.items():
            try:
                _encode(value)
            except RecursionError as error:
                raise ValueError(_TOO_DEEP.format(name)) from error
            except (TypeError, ValueError) as error:
                raise ValueError(f"field {name!r}: {error}") from error
        raise


def _fields(fields: Mapping[str, Any], vectors: Collection[str]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name, value in fields.items():
        try:
            if isinstance(value, str):
                # Half a surrogate pair, say: the encoder names no field.
                value.encode()
                content[_name(name)] = _vector(value) if name in vectors else _json(value)
            else:
                content[_name(name)] = _json(value)
        except RecursionError as error:
            raise ValueError(_TOO_DEEP.format(name)) from error
        except (TypeError, ValueError) as error:
            raise ValueError(f"field {name!r}: {error}") from error
    return content


def _vector(text: str) -> Any:
    """Digit by digit as Postgres has it; what is no array of numbers is left for the engine to judge."""
    try:
        _numbers(text)
    except msgspec.DecodeError:
        return text
    return msgspec.Raw(text.encode())


def _json(value: Any) -> Any:
    """What msgspec writes as Postgres' ``to_json`` does."""
    match value:
        case None | bool() | str() | int():
            return value.value if isinstance(value, Enum) else value
        case float():
            return value if math.isfinite(value) else _not_finite(value)
        case Decimal():
            return value if value.is_finite() else _not_finite(value)
        case Enum():
            return _json(value.value)
        case datetime():
            return iso(value.isoformat())
        case date() | UUID():
            return str(value)
        case time():
            text = iso(value.isoformat())
            return text.removesuffix(":00") if value.tzinfo else text
        case bytes() | bytearray() | memoryview():
            return b64encode(value).decode()
        case timedelta():
            raise TypeError("a timedelta has no form in JSON: give seconds, or a text")
        case msgspec.Raw():
            # JSON by now, of our own making.
            return value
        case Mapping():
            return {_name(key): _json(inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_json(inner) for inner in value]
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


def _name(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{key!r} is no text, and JSON has no other names")
    return key


def _not_finite(value: float | Decimal) -> str:
    if value.is_nan() if isinstance(value, Decimal) else math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
