"""The forms in which a page's rows leave a database: what is selected for each, and the chunk that is made of what comes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from sqlalchemy import ColumnElement

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Chunk, Document, Format, Key, Position, Rejection
from airflow_reindex_provider.sources.sql.relation import Part, Relation, texts

MB = 1024 * 1024
_VALUE_BYTES = 16
Value = Callable[[Any], Any]
"""See ``ValueColumn.value``."""


class Form(ABC):
    """:ivar chunk_bytes: a chunk of more than one row has at most so many, of what the driver has given. :ivar placed: whether
    rows begin with their place, cursor and key parts, as ``Relation.page`` selects it."""

    format: ClassVar[Format]
    chunk_bytes: ClassVar[int]
    placed: ClassVar[bool] = True

    def __init__(self, relation: Relation) -> None:
        self._rows = relation.rows
        self._own = 1 + len(self._rows.key)

    @abstractmethod
    def columns(self, part: Part) -> Sequence[ColumnElement[Any]]:
        """What is selected of a part's row, after its place."""

    @abstractmethod
    def width(self, row: Sequence[Any]) -> int:
        """Bytes, about. :raises Exception: nobody can make anything of the row; says why."""

    @abstractmethod
    def chunk(self, rows: list[Sequence[Any]], end: Position) -> Chunk:
        """:param rows: is emptied."""

    def place(self, row: Sequence[Any]) -> Position:
        return Position(self._rows.cursor.text(row[0]), self._key(row))

    def _key(self, row: Sequence[Any]) -> Key:
        return texts(self._rows.key, row[1 : self._own])


class RowsForm(Form):
    """Documents with Python values. A row that has none of these is rejected."""

    format = Format.ROWS
    # As Python's objects they take several times as much.
    chunk_bytes = 2 * MB

    def __init__(self, relation: Relation, fields: Sequence[str]) -> None:
        super().__init__(relation)
        self._fields = fields

    def columns(self, part: Part) -> Sequence[ColumnElement[Any]]:
        return [part.gone, *(part.columns[name].selected for name in self._fields)]

    def width(self, row: Sequence[Any]) -> int:
        return width(row)

    def chunk(self, rows: list[Sequence[Any]], end: Position) -> Chunk:
        columns = [(name, self._rows.columns[name].value) for name in self._fields]
        documents: list[Document] = []
        rejected: list[Rejection] = []
        # Each is let go of before the next one becomes Python's objects.
        rows.reverse()
        while rows:
            row = rows.pop()
            key = self._key(row)
            try:
                values = None if row[self._own] else content(columns, row[self._own + 1 :])
                documents.append(Document(key, self._rows.cursor.ordinal(row[0]), values))
            except Exception as error:
                # Whatever a value does that is none.
                rejected.append(Rejection(key, str(error)))
        return Chunk(end, self.format, documents, tuple(rejected))


def width(row: Sequence[Any]) -> int:
    """Bytes, about."""
    return sum(len(v) if isinstance(v, (str, bytes, bytearray)) else _VALUE_BYTES for v in row)


def content(columns: Sequence[tuple[str, Value | None]], values: Sequence[Any]) -> Mapping[str, Any]:
    """:raises ConfigurationError: a value is none; names its column."""
    name = ""
    try:
        found = {}
        for (name, make), value in zip(columns, values, strict=True):
            found[name] = value if value is None or make is None else make(value)
    except Exception as error:
        raise ConfigurationError(f"column {name!r} has no value in Python: {error}") from error
    return found
