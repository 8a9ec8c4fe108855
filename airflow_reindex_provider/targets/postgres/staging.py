"""The staging table that a chunk is copied to first. Its transaction makes and drops it, since the next one may be in another
session of a pool."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, AnyStr, TypeVar

import psycopg
from psycopg import errors, sql
from psycopg.copy import LibpqWriter

from airflow_reindex_provider.core.model import Document, Key, Rejection
from airflow_reindex_provider.core.observing import Meter
from airflow_reindex_provider.databases.postgres import binary_copy
from airflow_reindex_provider.databases.postgres.sqlstates import REFUSALS, remedy_of
from airflow_reindex_provider.databases.postgres.text_copy import cells_of
from airflow_reindex_provider.databases.postgres.transactions import transaction
from airflow_reindex_provider.targets.postgres.statements import DELETED, VERSION

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.abc import Buffer

TABLE = sql.Identifier("pg_temp", "reindex_staging")
_BINARY = sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(TABLE)
_TEXT = sql.SQL("COPY {} FROM STDIN").format(TABLE)
_Row = TypeVar("_Row")


@dataclass(slots=True)
class Staged:
    """How much is in the staging table, and what of the chunk is not."""

    rows: int
    rejected: list[Rejection] = field(default_factory=list)


class Staging:
    """:param columns: of the staging table, beside version and deletion, with their types on the way.
    :param meter: counts what is sent. :param is_text: whether pieces are of COPY's text form."""

    def __init__(
        self, columns: Mapping[str, str], primary_key: Sequence[str], meter: Meter, *, is_text: bool = False
    ) -> None:
        self._is_text = is_text
        self._meter = meter
        self._names = tuple(columns)
        self._key = primary_key
        self._key_texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(n)) for n in primary_key)
        definitions = [
            sql.SQL("{} bigint, {} boolean").format(sql.Identifier(VERSION), sql.Identifier(DELETED)),
            *(sql.SQL("{} {}").format(sql.Identifier(n), sql.SQL(kind)) for n, kind in columns.items()),
        ]
        # In a session of a pool a stranger may have left one behind.
        self._make = sql.SQL(
            # What is written in key order is sorted in memory.
            "DROP TABLE IF EXISTS {}; SET LOCAL work_mem = '32MB'; CREATE TEMPORARY TABLE reindex_staging ({}) ON COMMIT DROP"
        ).format(TABLE, sql.SQL(", ").join(definitions))

    def make_room(self, connection: Connection[Any]) -> None:
        """Staging tables stay in memory where a session can still be given so much: its first temporary table settles it."""
        with suppress(errors.InvalidParameterValue), transaction(connection):
            connection.execute("SET LOCAL temp_buffers = '32MB'")
            connection.execute(self._make)

    def of_pieces(self, connection: Connection[Any], pieces: Sequence[bytes]) -> Staged:
        """What a COPY takes."""
        if self._is_text:
            return self._fill(
                connection,
                lambda: copy_in(connection, _TEXT, pieces, meter=self._meter),
                # A line break within a value is escaped.
                lambda: b"".join(pieces).splitlines(keepends=True),
                lambda part: copy_in(connection, _TEXT, part, meter=self._meter),
                self._key_of,
                lambda line, error: self._reason_of(cells_of(line)[2:], error, nul=b"\0"),
            )
        return self._fill(
            connection,
            lambda: copy_in(connection, _BINARY, pieces, meter=self._meter),
            lambda: binary_copy.rows_of(pieces),
            lambda part: copy_in(connection, _BINARY, binary_copy.stream_of(part), meter=self._meter),
            lambda cells: self._key_in(connection, cells),
            lambda cells, error: _reason(error),
        )

    def of_documents(
        self,
        connection: Connection[Any],
        documents: Sequence[Document],
        row_of: Callable[[Document], tuple[Any, ...]],
    ) -> Staged:
        def copy(documents: Sequence[Document]) -> int:
            copy_rows(connection, _TEXT, map(row_of, documents), meter=self._meter)
            return len(documents)

        def why(document: Document, error: psycopg.Error) -> str:
            values = [value if isinstance(value, str) else None for value in row_of(document)[2:]]
            return self._reason_of(values, error, nul="\0")

        return self._fill(
            connection, lambda: copy(documents), lambda: documents, copy, lambda document: document.key, why
        )

    def _fill(
        self,
        connection: Connection[Any],
        copy_all: Callable[[], int],
        split: Callable[[], Sequence[_Row]],
        copy: Callable[[Sequence[_Row]], int],
        key_of: Callable[[_Row], Key],
        why: Callable[[_Row, psycopg.Error], str],
    ) -> Staged:
        """Into a new staging table. A row that it cannot even take as it is (no characters, more than a gigabyte) is left out."""
        connection.execute(self._make)
        try:
            with connection.transaction():
                return Staged(copy_all())
        except REFUSALS:
            staged = Staged(0)
        waiting: list[Sequence[_Row]] = [split()]
        while waiting:
            part = waiting.pop()
            try:
                with connection.transaction():
                    staged.rows += copy(part)
            except REFUSALS as error:
                if len(part) > 1:
                    middle = len(part) // 2
                    waiting += [part[middle:], part[:middle]]
                else:
                    staged.rejected.append(Rejection(key_of(part[0]), why(part[0], error)))
        return staged

    def key_at(self, connection: Connection[Any], place: str) -> tuple[str, ...]:
        row = connection.execute(
            sql.SQL("SELECT {} FROM {} WHERE ctid = {}::tid").format(self._key_texts, TABLE, sql.Literal(place))
        ).fetchone()
        return tuple(row or ())

    def _reason_of(self, texts: Sequence[AnyStr | None], error: psycopg.Error, *, nul: AnyStr) -> str:
        """:param texts: of the columns, as far as they are some."""
        named = zip(self._names, texts, strict=True)
        name = next((n for n, text in named if text is not None and nul in text), None)
        return _reason(error) if name is None else f"column {name!r}: a text cannot hold the character NUL (0x00)"

    def _key_of(self, line: bytes) -> Key:
        cells = dict(zip(self._names, cells_of(line)[2:], strict=True))
        return tuple((cells[name] or b"").decode(errors="backslashreplace") for name in self._key)

    def _key_in(self, connection: Connection[Any], cells: binary_copy.Cells) -> Key:
        """The texts of a row's key, which Postgres alone knows to write."""
        version, deleted, *values = cells
        keys = [value if name in self._key else None for name, value in zip(self._names, values, strict=True)]
        try:
            with connection.transaction(force_rollback=True):
                connection.execute(sql.SQL("TRUNCATE {}").format(TABLE))
                copy_in(connection, _BINARY, binary_copy.stream_of([(version, deleted, *keys)]), meter=self._meter)
                (key,) = connection.execute(sql.SQL("SELECT {} FROM {}").format(self._key_texts, TABLE)).fetchall()
                return tuple(key)
        except psycopg.Error:
            return tuple((keys[self._names.index(name)] or b"").decode(errors="backslashreplace") for name in self._key)


def copy_in(connection: Connection[Any], statement: sql.Composed, pieces: Iterable[bytes], *, meter: Meter) -> int:
    """How many rows there were."""
    with connection.cursor() as cursor:
        with cursor.copy(statement, writer=_Counted(cursor, meter)) as copy:
            for piece in pieces:
                copy.write(piece)
        return cursor.rowcount


class _Counted(LibpqWriter):
    """Into the connection, and onto a meter."""

    def __init__(self, cursor: psycopg.Cursor[Any], meter: Meter) -> None:
        super().__init__(cursor)
        self._meter = meter

    def write(self, data: Buffer) -> None:
        super().write(data)
        self._meter.sent(len(data))


def copy_rows(
    connection: Connection[Any], statement: sql.Composed, rows: Iterable[tuple[Any, ...]], *, meter: Meter
) -> None:
    """As text, of Python values."""
    with connection.cursor() as cursor, cursor.copy(statement, writer=_Counted(cursor, meter)) as copy:
        for row in rows:
            copy.write_row(row)


def _reason(error: psycopg.Error) -> str:
    reason = error.diag.message_primary or str(error).strip()
    remedy = remedy_of(error, grant="")
    return f"{reason}. {remedy}" if remedy else reason
