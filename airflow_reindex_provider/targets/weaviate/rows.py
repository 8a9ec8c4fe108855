"""Documents as objects of a generation's collection, and objects of it as documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from airflow_reindex_provider.core.embedding.embedder import Vector
from airflow_reindex_provider.core.model import Document, Key, Rejection
from airflow_reindex_provider.targets.row_passages import PASSAGES, own, told
from airflow_reindex_provider.targets.weaviate.layout import DELETED, KEY, VERSION, Layout
from airflow_reindex_provider.targets.weaviate.passages import multivector
from airflow_reindex_provider.targets.weaviate.types import value_for

_MOST_BYTES = 4 << 20
"""Of one request; a server takes ten megabytes, if it is old."""
_MOST_ROWS = 500
NAMESPACE = UUID("6f1c2b0e-93a7-5d0a-8a55-0d2f6b8d7c11")
_NO_VALUES = (TypeError, ValueError, OverflowError, ArithmeticError, RecursionError)
_OFFSET = 2**63
_DIGITS = len(str(2**64))


@dataclass(frozen=True, slots=True)
class Row:
    """A document as it is sent. :ivar size: about how many bytes."""

    document: Document
    id: str
    properties: Mapping[str, Any]
    vectors: Mapping[str, Any]
    size: int


class Rows:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._keys = layout.key_texts
        self._values: dict[str, Callable[[Any], Any]] = {n: value_for(kind) for n, kind in layout.columns.items()}
        self._properties = layout.properties

    def of(
        self, documents: Iterable[Document], rejected: list[Rejection], vectors: Mapping[bytes, Vector] | None = None
    ) -> list[Row]:
        """:param vectors: of the documents' passages, by hash; without them the rows have none.
        :param rejected: takes those that have a value which is none of its column's type."""
        return [row for document in documents if (row := self._row(document, rejected, vectors)) is not None]

    def id(self, key: Key) -> str:
        """The same for the same key, always."""
        return str(uuid5(NAMESPACE, self.hex(key)))

    def hex(self, key: Key) -> str:
        """Its order is that of keys, and it has nothing that Weaviate would trim or split."""
        return self._keys.text(key).encode().hex()

    def key(self, hex: str) -> Key:
        return self._keys.key(bytes.fromhex(hex).decode())

    def _row(self, document: Document, rejected: list[Rejection], vectors: Mapping[bytes, Vector] | None) -> Row | None:
        made: dict[str, Any] = {}
        named: dict[str, Any] = {}
        name = "the key"
        try:
            made |= {
                KEY: self.hex(document.key),
                VERSION: version_text(document.version),
                DELETED: document.fields is None,
            }
            for name, value in (document.fields or {}).items():
                make = self._values.get(name)
                if make is None:
                    raise ValueError(
                        "the index has no such column; declare it in columns= and rebuild, or leave it out"
                    )
                if value is not None:
                    if (at := self._properties.get(name)) is None:
                        named[name] = make(value)
                    else:
                        made[at] = make(value)
        except _NO_VALUES as error:
            rejected.append(Rejection(document.key, self._reason(name, error)))
            return None
        if vectors is not None and document.passages:
            passages = own(document)
            made |= told(passages)
            try:
                made[PASSAGES][0]["text"].encode()
                ",".join(p.text for p in passages).encode()
            except UnicodeEncodeError as error:
                rejected.append(Rejection(document.key, self._reason(passages[0].field, error)))
                return None
            named |= multivector(passages, vectors)
        return Row(document, self.id(document.key), made, named, _size(made) + 4 * _count(named))

    def _reason(self, name: str, error: Exception) -> str:
        kind = self._layout.columns.get(name)
        return f"column {name!r}" + (f" of type {kind}" if kind else "") + f": {error or type(error).__name__}"


def version_text(version: int) -> str:
    """A number that is sent as one would lose digits."""
    return f"{version + _OFFSET:0{_DIGITS}}"


def version_of(text: str) -> int:
    return int(text) - _OFFSET


def _size(value: Any) -> int:
    match value:
        case str():
            return len(value)
        case Mapping():
            return sum(len(name) + _size(part) for name, part in value.items())
        case list():
            return sum(map(_size, value))
    return 8


def _count(value: Any) -> int:
    if isinstance(value, Mapping):
        return sum(map(_count, value.values()))
    if value and isinstance(value[0], list):
        return sum(map(len, value))
    return len(value)


def units(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Parts that fit a request."""
    unit: list[Row] = []
    size = 0
    for row in rows:
        if unit and (len(unit) == _MOST_ROWS or size + row.size > _MOST_BYTES):
            yield unit
            unit, size = [], 0
        unit.append(row)
        size += row.size
    if unit:
        yield unit
