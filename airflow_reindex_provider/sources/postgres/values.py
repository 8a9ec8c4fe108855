"""Postgres' values as Python's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.adapt import AdaptersMap, Buffer, Loader, Transformer
from psycopg.pq import Format
from psycopg.types.datetime import DateLoader, TimeLoader, TimestampLoader, TimestamptzLoader, TimetzLoader
from psycopg.types.string import TextLoader

from airflow_reindex_provider.databases.postgres.sqlstates import BAD_ENCODING


class Values:
    """Numbers, text, bytes, times, uuids, JSON and lists of them become Python's own types; whatever Python has no value for
    (an infinite date, a year before Christ, an interval of months) stays Postgres' text for it.

    :param types: of each column, by its name.
    """

    def __init__(self, connection: psycopg.Connection[Any], types: Mapping[str, str]) -> None:
        context = _Utf8(AdaptersMap(connection.adapters))
        for name, loader in _LENIENT.items():
            context.adapters.register_loader(name, loader)
        self._names = tuple(types)
        self._oids = [context.adapters.types.get_oid(kind) for kind in types.values()]
        self._transformer = Transformer(context)
        self._transformer.set_loader_types(self._oids, Format.TEXT)

    def of(self, texts: Sequence[bytes | None]) -> dict[str, Any]:
        """:raises ValueError: one is no value in Python either, of JSON say that is nested too deeply; names its column."""
        try:
            return dict(zip(self._names, self._transformer.load_sequence(texts), strict=True))
        except Exception:
            for name, oid, text in zip(self._names, self._oids, texts, strict=True):
                try:
                    self._transformer.get_loader(oid, Format.TEXT).load(text or b"")
                except Exception as error:
                    if text is not None:
                        reason = f"column {name!r} has no value in Python: {type(error).__name__}: {error}"
                        remedy = f". {BAD_ENCODING}" if isinstance(error, UnicodeDecodeError) else ""
                        raise ValueError(reason + remedy) from error
            raise


@dataclass(frozen=True, slots=True)
class _Utf8:
    """Conforms to psycopg's ``AdaptContext``. Without a connection, since that is in UTF-8 only within a transaction."""

    adapters: AdaptersMap
    connection: None = None


def _or_text(base: type[Loader], form: Callable[[str], str] = str) -> type[Loader]:
    class OrText(base):  # type: ignore[valid-type, misc]
        def load(self, data: Buffer) -> Any:
            try:
                return super().load(data)
            except psycopg.DataError:
                return form(bytes(data).decode())

    return OrText


def _as_in_json(text: str) -> str:
    """A time as Postgres writes it in JSON; the session's zone is UTC."""
    return text.replace(" ", "T", 1).replace("+00", "+00:00")


_LENIENT: dict[str, type[Loader]] = {
    "date": _or_text(DateLoader),
    "time": _or_text(TimeLoader),
    "timetz": _or_text(TimetzLoader),
    "timestamp": _or_text(TimestampLoader, _as_in_json),
    "timestamptz": _or_text(TimestamptzLoader, _as_in_json),
    # A timedelta has no months; a Python range has no text form that Postgres reads.
    **dict.fromkeys(
        ("interval", "inet", "cidr", "int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange"),
        TextLoader,
    ),
}
