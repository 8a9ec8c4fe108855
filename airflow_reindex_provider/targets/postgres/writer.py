"""Writes chunks into one physical table: COPY to a staging table, and from there by ``storing``.

chunk --COPY--> temporary table --INSERT .. ON CONFLICT DO UPDATE WHERE version <= --> physical table
                                   \\-- a document that is refused: halve, until it stands alone --> rejected

Into a generation that was never served, and after a chunk of new documents alone, a chunk goes straight into the physical table,
and the way above only when that is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, cast

import psycopg
from psycopg import errors, sql
from psycopg.adapt import PyFormat, Transformer

from airflow_reindex_provider.core.embedding.embedder import Vector
from airflow_reindex_provider.core.model import Chunk, Counts, Document, Format, Key, Rejection, WriteResult
from airflow_reindex_provider.core.observing import Meter, Traffic
from airflow_reindex_provider.databases.postgres.sqlstates import REFUSALS
from airflow_reindex_provider.databases.postgres.transactions import begin, transaction
from airflow_reindex_provider.targets.postgres.new_rows import NewRows
from airflow_reindex_provider.targets.postgres.passage_writer import NOTED, PassageWriter, Written
from airflow_reindex_provider.targets.postgres.passages import LISTS, lists_of
from airflow_reindex_provider.targets.postgres.staging import TABLE, Staged, Staging, copy_in
from airflow_reindex_provider.targets.postgres.statements import DELETED, VERSION, Statements
from airflow_reindex_provider.targets.postgres.storing import Storing
from airflow_reindex_provider.targets.postgres.values import in_column

if TYPE_CHECKING:
    from psycopg import Connection

_NOT_ALL_NEW: tuple[type[psycopg.Error], ...] = (*REFUSALS, errors.DeadlockDetected)
"""What ends a straight copy: a key that is there already, a refused value, another writer with the keys in another order."""


class PostgresWriter:
    """One transaction a chunk. Staged rows are written in key order, so two writers never wait for each other in a circle.

    :param connections: one for each chunk that may be on its way at the same time.
    :param is_text: whether pieces are of COPY's text form. :param columns: the table's columns and their types.
    :param staged: their types on the way.
    :param has_deletes: whether chunks can hold deletions, whose contents are then not kept. :param loose: see ``Statements``.
    :param all_new: whether the first chunk will likely be new to the table, every document of it.
    :param passages: makes what writes the documents' passages; None where they have none.
    """

    def __init__(
        self,
        connections: Sequence[Connection[Any]],
        *,
        is_text: bool = False,
        table: sql.Identifier,
        columns: Mapping[str, str],
        staged: Mapping[str, str],
        primary_key: Sequence[str],
        has_deletes: bool,
        loose: Collection[str] = (),
        all_new: bool = False,
        passages: Callable[[Meter], PassageWriter] | None = None,
    ) -> None:
        self._connections = connections
        self._table = table
        self._columns = columns
        self._key = primary_key
        self._meter = Meter()
        self._staging = Staging(staged, primary_key, self._meter, is_text=is_text)
        self._order = tuple(columns)
        statements = Statements.of(
            table,
            columns,
            staged,
            primary_key,
            has_deletes=has_deletes,
            loose=loose,
            noted=() if passages is None else NOTED,
        )
        self._storing = Storing(statements, self._staging, columns, all_new=all_new)
        self._passages = passages(self._meter) if passages is not None else None
        self._new_rows = NewRows(table, self._order, self._meter) if passages and NewRows.fit(columns) else None
        # A deletion must lose its contents on the way, and a cast needs a statement.
        self._straight = (
            sql.SQL("COPY {} ({}) FROM STDIN (FORMAT {})").format(
                table,
                sql.SQL(", ").join(map(sql.Identifier, (VERSION, DELETED, *columns))),
                sql.SQL("text" if is_text else "binary"),
            )
            if not has_deletes and all(columns[n] == kind for n, kind in staged.items())
            else None
        )
        self._free: SimpleQueue[Connection[Any]] = SimpleQueue()
        for connection in connections:
            self._staging.make_room(connection)
            self._free.put(connection)

    @property
    def traffic(self) -> Traffic:
        return self._meter.traffic

    def write(self, chunk: Chunk) -> WriteResult:
        if chunk.format is not Format.ROWS:
            return self.stage(chunk)()
        documents = cast("Sequence[Document]", chunk.payload)
        unwritable: list[Rejection] = []
        try:
            return self._write_rows(documents, chunk.vectors)
        except Exception as error:
            if isinstance(error, psycopg.Error) and error.sqlstate is not None:
                raise
            # Some value has no text form for Postgres: a NUL in it, half a surrogate pair, a type of its own, whatever it raises.
            # Which one shows only when each is tried alone.
            documents, unwritable = self._without_unwritable(documents)
            if not unwritable:
                raise
        result = self._write_rows(documents, chunk.vectors)
        return WriteResult(result.counts + Counts(failures=len(unwritable)), (*unwritable, *result.rejected))

    def differing(self, documents: Sequence[Document]) -> list[tuple[Key, str]]:
        """Of these documents those that are in the table with the same version and other values, and the first column that
        differs. Values are compared as the column's type writes them. Nothing is written."""
        names = [n for n in self._order if n not in self._key and n not in LISTS]
        if not names or not documents:
            return []

        def text(side: str, name: str) -> sql.Composed:
            kind = "jsonb" if self._columns[name] == "json" else self._columns[name]
            return sql.SQL("({}::{})::text").format(sql.Identifier(side, name), sql.SQL(kind))

        first = sql.SQL(" ").join(
            sql.SQL("WHEN {} IS DISTINCT FROM {} THEN {}").format(text("t", n), text("s", n), sql.Literal(n))
            for n in names
        )
        join = sql.SQL(" AND ").join(
            sql.SQL("{} = {}::{}").format(sql.Identifier("t", n), sql.Identifier("s", n), sql.SQL(self._columns[n]))
            for n in self._key
        )
        statement = sql.SQL(
            "SELECT * FROM (SELECT CASE {first} END AS field, {key} FROM {staging} AS s CROSS JOIN LATERAL"
            " (SELECT * FROM {table} AS t WHERE {join} AND t.{version} = s.{version} AND NOT t.{deleted} OFFSET 0) AS t) AS d"
            " WHERE field IS NOT NULL"
        ).format(
            first=first,
            key=sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier("s", n)) for n in self._key),
            table=self._table,
            staging=TABLE,
            join=join,
            version=sql.Identifier(VERSION),
            deleted=sql.Identifier(DELETED),
        )
        (connection, *_) = self._connections
        with transaction(connection):
            self._copy_rows(connection, documents)
            return [(tuple(key), name) for name, *key in connection.execute(statement)]

    def stage(self, chunk: Chunk) -> Callable[[], WriteResult]:
        """Begin the chunk's transaction and fill its staging table; the answer writes from there and commits."""
        pieces = cast("Iterable[bytes]", chunk.payload)
        if self._straight is None or not self._storing.all_new:
            return self._filled(lambda connection: self._staging.of_pieces(connection, list(pieces)))
        # Taken first: no more chunks are held than can be written.
        connection = self._free.get()
        try:
            return partial(self._write_straight, connection, list(pieces))
        except BaseException:
            self._free.put(connection)
            raise

    def _write_straight(self, connection: Connection[Any], pieces: list[bytes]) -> WriteResult:
        assert self._straight is not None
        try:
            begin(connection)
            try:
                # Into an index that holds one of the keys nothing is copied at all, so it cannot write over anything.
                with connection.transaction():
                    created = copy_in(connection, self._straight, pieces, meter=self._meter)
                result = WriteResult(Counts(created=created))
            except _NOT_ALL_NEW:
                staged = self._staging.of_pieces(connection, pieces)
                self._storing.all_new = False
                result, _ = self._storing.store(connection, staged)
            connection.commit()
            return result
        finally:
            self._give_back(connection)

    def _filled(
        self,
        fill: Callable[[Connection[Any]], Staged],
        follow: Callable[[Connection[Any], Written, bool], None] = lambda connection, written, all_new: None,
    ) -> Callable[[], WriteResult]:
        """:param follow: what else belongs into the transaction; told what was written, and whether all that was staged is new to
        the table."""
        connection = self._free.get()
        try:
            begin(connection)
            staged = fill(connection)
        except BaseException:
            self._give_back(connection)
            raise
        return partial(self._write_staged, connection, staged, follow)

    def _write_staged(
        self, connection: Connection[Any], staged: Staged, follow: Callable[[Connection[Any], Written, bool], None]
    ) -> WriteResult:
        try:
            result, written = self._storing.store(connection, staged)
            follow(connection, written, result.counts.created == staged.rows)
            connection.commit()
            return result
        finally:
            self._give_back(connection)

    def _give_back(self, connection: Connection[Any]) -> None:
        try:
            # Nothing is open here unless an error is on its way up, which a connection that broke must not replace.
            with suppress(psycopg.Error):
                connection.rollback()
        finally:
            self._free.put(connection)

    # -- rows of Python values

    def _write_rows(self, documents: Sequence[Document], vectors: Mapping[bytes, Vector]) -> WriteResult:
        passages = self._passages
        if passages is None:
            return self._filled(lambda connection: self._copy_rows(connection, documents))()
        texts = {passage.hash: passage.text for document in documents for passage in document.passages}

        def follow(connection: Connection[Any], written: Written, all_new: bool) -> None:
            passages.follow(connection, written, texts, vectors, all_new=all_new)

        if self._storing.all_new and self._new_rows and all(document.fields is not None for document in documents):
            return self._write_new(self._new_rows, documents, follow)
        return self._filled(lambda connection: self._copy_rows(connection, documents), follow)()

    def _write_new(
        self,
        rows: NewRows,
        documents: Sequence[Document],
        follow: Callable[[Connection[Any], Written, bool], None],
    ) -> WriteResult:
        """As :meth:`_write_straight`; without a savepoint, which costs two round trips, since nothing comes before the copy."""
        connection = self._free.get()
        try:
            begin(connection)
            try:
                written = rows.copy(connection, documents, self._row)
                result = WriteResult(Counts(created=len(documents)))
            except _NOT_ALL_NEW:
                self._storing.all_new = False
                connection.rollback()
                begin(connection)
                result, written = self._storing.store(connection, self._copy_rows(connection, documents))
            follow(connection, written, result.counts.created == len(documents))
            connection.commit()
            return result
        finally:
            self._give_back(connection)

    def _copy_rows(self, connection: Connection[Any], documents: Sequence[Document]) -> Staged:
        return self._staging.of_documents(connection, documents, self._row)

    def _row(self, document: Document) -> tuple[Any, ...]:
        key = dict(zip(self._key, document.key, strict=True))
        if document.fields is None:
            return (document.version, True, *(key.get(n) for n in self._order))
        unknown = [n for n in document.fields if n not in self._columns]
        if unknown:
            raise ValueError(f"the index has no column {unknown[0]!r}")
        fields = document.fields if self._passages is None else {**document.fields, **lists_of(document)}
        return (
            document.version,
            False,
            *(key[n] if n in key else in_column(fields.get(n), self._columns[n]) for n in self._order),
        )

    def _without_unwritable(self, documents: Sequence[Document]) -> tuple[list[Document], list[Rejection]]:
        good: list[Document] = []
        bad: list[Rejection] = []
        connection = self._connections[0]
        transformer = Transformer(connection)
        # Outside of a transaction the connection has the encoding of its database, which says what that cannot hold. Where
        # it has none, all that can be written counts.
        with transaction(connection) if connection.info.encoding == "ascii" else nullcontext():
            for document in documents:
                try:
                    row = self._row(document)
                    transformer.dump_sequence(row, [PyFormat.TEXT] * len(row))
                    good.append(document)
                except Exception as error:
                    bad.append(Rejection(document.key, self._unwritable(transformer, document) or _words(error)))
        return good, bad

    def _unwritable(self, transformer: Any, document: Document) -> str | None:
        """The first value that has no text form, by its column."""
        with suppress(Exception):
            for name, value in zip(self._order, self._row(document)[2:], strict=True):
                try:
                    transformer.dump_sequence([value], [PyFormat.TEXT])
                except Exception as error:
                    return f"column {name!r}: {_words(error)}"
        return None


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
