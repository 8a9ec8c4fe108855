"""Brings the passages of documents that were just written to what the documents say, in the same transaction."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from psycopg import sql

from airflow_reindex_provider.core.embedding.embedder import Vector
from airflow_reindex_provider.core.errors import ConfigurationError, VectorsGoneError
from airflow_reindex_provider.core.observing import Meter
from airflow_reindex_provider.databases.postgres import binary_copy
from airflow_reindex_provider.targets.postgres.passages import DOCUMENT, HASHES, vector_type
from airflow_reindex_provider.targets.postgres.staging import copy_in

if TYPE_CHECKING:
    from psycopg import Connection

_PIECE_BYTES = 64 * 1024
_GREATEST_HALF = 65_504
_Wanted = list[tuple[int, bytes]]
"""Passages that are still to be made: numbers of documents, and hashes."""


class PassageWriter:
    """The written rows are locked by their own upsert, so nobody else writes passages of these documents meanwhile.

    :param table: of the passages. :param accepted: what follows FROM to read the rows ``t`` that were staged and are held now.
    :param lenders: tables of passages from which those of equal hash are taken.
    :param meter: counts what is sent.
    """

    def __init__(
        self,
        table: sql.Identifier,
        *,
        accepted: sql.Composed,
        dimensions: int,
        lenders: Sequence[sql.Identifier],
        meter: Meter,
    ) -> None:
        self._meter = meter
        self._lenders = lenders
        self._halves = vector_type(dimensions).startswith("halfvec")
        names = {
            "passages": table,
            "accepted": accepted,
            "document": sql.Identifier("t", DOCUMENT),
            "hashes": sql.Identifier("t", HASHES),
        }
        self._remove = sql.SQL(
            "DELETE FROM {passages} AS p USING (SELECT {document} AS document, coalesce({hashes}, '{{}}') AS hashes"
            " FROM {accepted}) AS w WHERE p.document = w.document AND p.hash <> ALL (w.hashes)"
        ).format(**names)
        self._lacking = sql.SQL(
            "SELECT w.document, w.hash FROM (SELECT DISTINCT {document} AS document, unnest({hashes}) AS hash FROM {accepted})"
            " AS w WHERE NOT EXISTS (SELECT FROM {passages} AS p WHERE p.document = w.document AND p.hash = w.hash)"
        ).format(**names)
        self._copy = sql.SQL("COPY {passages} (document, hash, text, embedding) FROM STDIN (FORMAT binary)").format(
            **names
        )
        self._table = table

    def follow(
        self, connection: Connection[Any], texts: Mapping[bytes, str], vectors: Mapping[bytes, Vector], *, all_new: bool
    ) -> None:
        """Remove what the documents do not have any more, and make what they have and the table does not.

        :param texts: of all passages of the documents, by hash. :param all_new: none of the documents was there before.
        :raises VectorsGoneError: a vector is neither given nor held any more. The caller's transaction must not be committed.
        """
        if not all_new:
            connection.execute(self._remove)
        lacking = [(number, hash.bytes) for number, hash in connection.execute(self._lacking)]
        given = [(number, hash) for number, hash in lacking if hash in vectors]
        if given:
            copy_in(connection, self._copy, self._stream(given, texts, vectors), meter=self._meter)
        lent = [(number, hash) for number, hash in lacking if hash not in vectors]
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
            [[number for number, _ in wanted], [hash.hex() for _, hash in wanted]],
        )
        found = {(number, hash.bytes) for number, hash in made}
        return [one for one in wanted if one not in found]

    def _stream(self, rows: _Wanted, texts: Mapping[bytes, str], vectors: Mapping[bytes, Vector]) -> Iterator[bytes]:
        cells = (
            (number.to_bytes(8, "big"), hash, texts[hash].encode(), self._encoded(vectors[hash]))
            for number, hash in rows
        )
        held = bytearray()
        for piece in binary_copy.stream_of(cells):
            held += piece
            if len(held) >= _PIECE_BYTES:
                yield bytes(held)
                held.clear()
        yield bytes(held)

    def _encoded(self, vector: Vector) -> bytes:
        """As pgvector takes it: the dimensions, two bytes of nothing, and the numbers, the greater byte first."""
        head = struct.pack(">HH", len(vector), 0)
        if self._halves:
            try:
                return head + struct.pack(f">{len(vector)}e", *vector)
            except OverflowError:
                raise ConfigurationError(
                    f"The model gives vectors of {len(vector):,} dimensions, which are kept as halfvec, with numbers beyond the"
                    f" {_GREATEST_HALF:,} that one can hold. Let it give vectors of length one."
                ) from None
        numbers = array("f", vector)
        if sys.byteorder == "little":
            numbers.byteswap()
        return head + numbers.tobytes()


def known(connection: Connection[Any], hashes: Sequence[bytes], lenders: Sequence[sql.Identifier]) -> set[bytes]:
    """Those of the hashes that one of the tables has a passage of."""
    found: set[bytes] = set()
    for lender in lenders:
        left = [hash.hex() for hash in hashes if hash not in found]
        if left:
            statement = sql.SQL(
                "SELECT w.hash FROM unnest(%s::uuid[]) AS w(hash) WHERE EXISTS (SELECT FROM {} AS p WHERE p.hash = w.hash)"
            ).format(lender)
            held: list[tuple[UUID]] = connection.execute(statement, [left]).fetchall()
            found.update(hash.bytes for (hash,) in held)
    return found
