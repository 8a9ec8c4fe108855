"""Brings the passages of documents that were just written to what the documents say, in the same transaction."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from psycopg import sql

from airflow_reindex_provider.core.embedding.embedder import HASH_BYTES, Vector
from airflow_reindex_provider.core.errors import ConfigurationError, VectorsGoneError
from airflow_reindex_provider.core.observing import Meter
from airflow_reindex_provider.databases.postgres.binary_copy import HEADER, TRAILER
from airflow_reindex_provider.databases.postgres.transactions import transaction
from airflow_reindex_provider.targets.postgres.passages import DOCUMENT, HASHES, uuids, vector_type
from airflow_reindex_provider.targets.postgres.staging import copy_in
from airflow_reindex_provider.targets.postgres.statements import BY_INDEX

if TYPE_CHECKING:
    from psycopg import Connection

NOTED = (
    sql.Identifier("t", DOCUMENT),
    sql.SQL("coalesce(translate({}::text, '{{}},-', ''), '')").format(sql.Identifier("t", HASHES)),
)
"""Of a row that was written, its number and the hashes of its passages, all in one text: an object for each would cost the server
more than the row itself."""
Written = list[tuple[int, Sequence[bytes]]]
"""The same, with each hash by itself."""

_PIECE_BYTES = 256 * 1024
_GREATEST_HALF = 65_504
_BEGIN = struct.Struct(f">hiqi{HASH_BYTES}si")
"""Of a row of four columns: its document, its hash, and how long its text is."""
_Wanted = list[tuple[int, bytes]]
"""Numbers of documents, and hashes of passages."""


class PassageWriter:
    """The written rows are locked by their own upsert, so nobody else writes passages of these documents meanwhile.

    It asks by the numbers that the upsert has answered with: a join with the staged rows, of which the server has no statistics,
    would now and then read the whole table.

    :param table: of the passages. :param meter: counts what is sent. :param lenders: tables of passages from which those of equal
        hash are taken.
    """

    def __init__(
        self, table: sql.Identifier, meter: Meter, *, dimensions: int, lenders: Sequence[sql.Identifier]
    ) -> None:
        self._meter = meter
        self._lenders = lenders
        self._halves = vector_type(dimensions).startswith("halfvec")
        self._held = sql.SQL(
            "SELECT document, string_agg(translate(hash::text, '-', ''), '') FROM {} WHERE document = ANY (%s::bigint[])"
            " GROUP BY document"
        ).format(table)
        self._remove = sql.SQL(
            "DELETE FROM {} AS p USING unnest(%s::bigint[], %s::uuid[]) AS w(document, hash)"
            " WHERE p.document = w.document AND p.hash = w.hash"
        ).format(table)
        self._copy = sql.SQL("COPY {} (document, hash, text, embedding) FROM STDIN (FORMAT binary)").format(table)
        self._table = table

    def follow(
        self,
        connection: Connection[Any],
        written: Written,
        texts: Mapping[bytes, str],
        vectors: Mapping[bytes, Vector],
        *,
        all_new: bool,
    ) -> None:
        """Remove what the documents do not have any more, and make what they have and the table does not.

        :param texts: of all passages of the documents, by hash. :param all_new: none of the documents was there before.
        :raises VectorsGoneError: a vector is neither given nor held any more. The caller's transaction must not be committed.
        """
        lacking = _passages_of(written)
        if not all_new:
            numbers = [number for number, _ in written]
            rows = connection.execute(self._held, [numbers])
            held = set(_passages_of(noted_of(rows)))
            if gone := held.difference(lacking):
                connection.execute(self._remove, _columns(list(gone)))
            lacking = [one for one in lacking if one not in held]
        lent = [one for one in lacking if one[1] not in vectors]
        given = [one for one in lacking if one[1] in vectors] if lent else lacking
        if given:
            copy_in(connection, self._copy, self._stream(given, texts, vectors), meter=self._meter)
        if lent:
            connection.execute(BY_INDEX)
        for lender in self._lenders:
            if lent:
                lent = self._lend(connection, lender, lent)
        if lent:
            raise VectorsGoneError(frozenset(hash for _, hash in lent))

    def _lend(self, connection: Connection[Any], lender: sql.Identifier, wanted: _Wanted) -> _Wanted:
        """Copy within the server; what there is nothing to copy for is left."""
        made = connection.execute(
            sql.SQL(
                "INSERT INTO {table} (document, hash, text, embedding) SELECT w.document, w.hash, f.text, f.embedding"
                " FROM unnest(%s::bigint[], %s::uuid[]) AS w(document, hash) CROSS JOIN LATERAL"
                " (SELECT text, embedding FROM {lender} AS p WHERE p.hash = w.hash LIMIT 1) AS f RETURNING document, hash"
            ).format(table=self._table, lender=lender),
            _columns(wanted),
        )
        found = {(number, hash.bytes) for number, hash in made}
        return [one for one in wanted if one not in found]

    def _stream(self, rows: _Wanted, texts: Mapping[bytes, str], vectors: Mapping[bytes, Vector]) -> Iterator[bytes]:
        """A binary COPY."""
        encoded = self._half if self._halves else _single
        begin = _BEGIN.pack
        pieces: list[bytes | Vector] = [HEADER]
        size = 0
        for number, hash in rows:
            text, vector = texts[hash].encode(), vectors[hash]
            pieces += (begin(4, 8, number, HASH_BYTES, hash, len(text)), text, *encoded(vector))
            size += len(text) + 4 * len(vector)
            if size >= _PIECE_BYTES:
                yield b"".join(pieces)
                pieces, size = [], 0
        pieces.append(TRAILER)
        yield b"".join(pieces)

    def _half(self, vector: Vector) -> tuple[bytes, bytes]:
        dimensions = len(vector)
        try:
            return _head(dimensions, 2), struct.pack(f">{dimensions}e", *vector)
        except OverflowError:
            raise ConfigurationError(
                f"The model gives vectors of {dimensions:,} dimensions, which are kept as halfvec, with numbers beyond the"
                f" {_GREATEST_HALF:,} that one can hold. Let it give vectors of length one."
            ) from None


def _single(vector: Vector) -> tuple[bytes, Vector]:
    """As pgvector takes it: the dimensions, two bytes of nothing, and the numbers, the greater byte first."""
    numbers = vector[:]
    if sys.byteorder == "little":
        numbers.byteswap()
    return _head(len(vector), 4), numbers


@cache
def _head(dimensions: int, width: int) -> bytes:
    """:param width: of a number, in bytes."""
    return struct.pack(">ihh", 4 + width * dimensions, dimensions, 0)


def _passages_of(written: Written) -> _Wanted:
    return [(number, hash) for number, hashes in written for hash in hashes]


def noted_of(rows: Iterable[tuple[int, str]]) -> Written:
    return [(number, _hashes_of(hashes)) for number, hashes in rows]


def _hashes_of(text: str) -> list[bytes]:
    """Of the digits of all, one behind the other."""
    found = bytes.fromhex(text)
    return [found[at : at + HASH_BYTES] for at in range(0, len(found), HASH_BYTES)]


def _columns(passages: _Wanted) -> list[Any]:
    return [[number for number, _ in passages], uuids([hash for _, hash in passages])]


def known(connection: Connection[Any], hashes: Sequence[bytes], lenders: Sequence[sql.Identifier]) -> set[bytes]:
    """Those of the hashes that one of the tables has a passage of."""
    found: set[bytes] = set()
    with transaction(connection):
        connection.execute(BY_INDEX)
        for lender in lenders:
            left = [hash for hash in hashes if hash not in found]
            if left:
                # A query for each: planned as a join, it may well read all of the table.
                statement = sql.SQL(
                    "SELECT string_agg(translate(w.hash::text, '-', ''), '') FROM unnest(%s::uuid[]) AS w(hash)"
                    " WHERE (SELECT true FROM {} AS p WHERE p.hash = w.hash LIMIT 1)"
                ).format(lender)
                row = connection.execute(statement, [uuids(left)]).fetchone()
                found.update(_hashes_of((row and row[0]) or ""))
    return found
