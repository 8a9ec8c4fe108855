"""The forms in which a batch's rows leave Postgres: what is selected for each, and how a chunk is made of what comes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from psycopg import sql

from airflow_reindex_provider.core.bulk import key_of
from airflow_reindex_provider.core.model import Chunk, Document, Format, Position, Rejection, Schema
from airflow_reindex_provider.databases.postgres.binary_copy import HEADER, TRAILER
from airflow_reindex_provider.databases.postgres.text_copy import cells_of
from airflow_reindex_provider.sources.postgres.bulk import bulk_line
from airflow_reindex_provider.sources.postgres.values import Values

if TYPE_CHECKING:
    import psycopg

    from airflow_reindex_provider.sources.postgres.sql import Relation

MB = 1024 * 1024


class Form(ABC):
    """A COPY whose rows begin with their place in the order of change: cursor, ``|``, and the key as it stands in an ``_id``.

    Any row can so begin the next chunk, and nothing else of a row is looked into.

    :ivar chunk_bytes: a chunk of more than one row has at most so many, as they come from the server.
    """

    format: ClassVar[Format]
    binary: ClassVar[bool] = True
    chunk_bytes: ClassVar[int] = 8 * MB

    def __init__(self, relation: Relation, schema: Schema) -> None:
        self.relation = relation
        self._width = len(schema.primary_key)

    @abstractmethod
    def columns(self) -> Sequence[sql.Composable]:
        """What is selected, after the place."""

    def begin(self, row: bytes) -> int:
        """Where the row's own content begins."""
        return 6 + int.from_bytes(row[2:6], "big")

    def place(self, row: bytes) -> Position:
        return self._position(row[6 : 6 + int.from_bytes(row[2:6], "big")].decode())

    def _position(self, text: str) -> Position:
        cursor, _, key = text.partition("|")
        return Position(cursor, key_of(key, self._width))

    @abstractmethod
    def take(self, rows: list[bytes]) -> None:
        """Some more rows of the chunk, without their places."""

    @abstractmethod
    def chunk(self, end: Position) -> Chunk:
        """Of what has been taken since the last one."""


class CopyForm(Form):
    """Version, whether it is gone, and the fields, each cast to its type on the wire: binary COPY that is never parsed."""

    format = Format.PG_COPY

    def __init__(self, relation: Relation, schema: Schema, fields: Sequence[str]) -> None:
        super().__init__(relation, schema)
        self._fields = fields
        self._head = (2 + len(fields)).to_bytes(2, "big")
        self._pieces: list[bytes] = []

    def columns(self) -> Sequence[sql.Composable]:
        gone = sql.SQL("({})::boolean").format(self.relation.deleted)
        fields = (self.relation.on_wire(name, binary=True) for name in self._fields)
        return (self.relation.version, gone, *fields)

    def take(self, rows: list[bytes]) -> None:
        # A row begins with the number of its columns, of which the place was one.
        self._pieces.append(self._head.join((b"", *rows)) if len(rows) > 1 else self._head)
        if len(rows) == 1:
            self._pieces += rows

    def chunk(self, end: Position) -> Chunk:
        pieces, self._pieces = self._pieces, []
        return Chunk(end, self.format, [HEADER, *pieces, TRAILER])


class BulkForm(Form):
    """The lines of a ``_bulk`` body, which Postgres itself writes."""

    format = Format.BULK

    def __init__(self, relation: Relation, schema: Schema, fields: Sequence[str]) -> None:
        super().__init__(relation, schema)
        self._line = bulk_line(relation, schema, fields)
        self._pieces: list[bytes] = []

    def columns(self) -> Sequence[sql.Composable]:
        # Binary COPY is the one form that does not escape what it carries.
        return (self._line,)

    def begin(self, row: bytes) -> int:
        # Before a text stands its length.
        return 10 + int.from_bytes(row[2:6], "big")

    def take(self, rows: list[bytes]) -> None:
        self._pieces.append(b"".join(rows))

    def chunk(self, end: Position) -> Chunk:
        pieces, self._pieces = self._pieces, []
        return Chunk(end, self.format, pieces)


class RowsForm(Form):
    """Documents with native Python values. A row that has none of these is rejected."""

    format = Format.ROWS
    binary = False
    # As Python's objects they take several times as much.
    chunk_bytes = 2 * MB

    def __init__(
        self, relation: Relation, schema: Schema, fields: Sequence[str], connection: psycopg.Connection[Any]
    ) -> None:
        super().__init__(relation, schema)
        self._fields = fields
        self._values = Values(connection, {name: relation.wire_types[name] for name in fields})
        self._documents: list[Document] = []
        self._rejected: list[Rejection] = []

    def columns(self) -> Sequence[sql.Composable]:
        gone = sql.SQL("({})::boolean").format(self.relation.deleted)
        fields = (self.relation.on_wire(name, binary=False) for name in self._fields)
        return (*self.relation.key_texts(), self.relation.version, gone, *fields)

    def begin(self, row: bytes) -> int:
        return row.index(b"\t") + 1

    def place(self, row: bytes) -> Position:
        (text,) = cells_of(row[: row.index(b"\t")])
        return self._position((text or b"").decode())

    def take(self, rows: list[bytes]) -> None:
        # Each is let go of before the next one becomes Python's objects.
        rows.reverse()
        while rows:
            cells = cells_of(rows.pop())
            key = tuple((part or b"").decode(errors="backslashreplace") for part in cells[: self._width])
            version, gone, *values = cells[self._width :]
            try:
                content = None if gone == b"t" else self._values.of(values)
                self._documents.append(Document(key, int(version or b""), content))
            except Exception as error:
                self._rejected.append(Rejection(key, str(error)))

    def chunk(self, end: Position) -> Chunk:
        documents, self._documents = self._documents, []
        rejected, self._rejected = self._rejected, []
        return Chunk(end, self.format, documents, tuple(rejected))
