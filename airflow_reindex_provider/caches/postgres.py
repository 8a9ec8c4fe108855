"""Vectors in a table of Postgres, which needs no extension for it."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.core.embedding.embedder import Vector
from airflow_reindex_provider.core.findings import tried
from airflow_reindex_provider.core.model import Finding
from airflow_reindex_provider.databases.postgres.own_table import InOwnTable, OwnTable

if TYPE_CHECKING:
    import psycopg

_CREATE = """CREATE TABLE IF NOT EXISTS {table} (
    hash bytea PRIMARY KEY,
    vector bytea NOT NULL,
    used_on date NOT NULL DEFAULT CURRENT_DATE
)"""

_HAVING = """WITH used AS (
    UPDATE {table} SET used_on = CURRENT_DATE WHERE hash = ANY(%(hashes)s) AND used_on < CURRENT_DATE
)
SELECT hash FROM {table} WHERE hash = ANY(%(hashes)s)"""

_FIND = "SELECT hash, vector FROM {table} WHERE hash = ANY(%(hashes)s)"

_KEEP = """INSERT INTO {table} (hash, vector)
SELECT * FROM unnest(%(hashes)s::bytea[], %(vectors)s::bytea[])
ON CONFLICT DO NOTHING"""

_STATEMENT_VECTORS = 256
"""That one statement takes or brings: 3 MB where they are wide."""


@dataclass(frozen=True)
class PostgresVectorCache(InOwnTable):
    """Keeps what a model has answered in a table that is made on first use, before anything is made of the answer. So it is not
    paid for again: not where the model, the process or the index breaks before the document is written, not in another stream
    or index, not after the generation that had it is dropped.

    It only grows. A vector that no run has asked for lately has an old ``used_on``, and may be deleted at any time.

    :param conn_id: a Postgres connection; its role needs SELECT, INSERT and UPDATE on the table, and CREATE on the schema if the
        table is to be made.
    :param table: ``schema.table``, or ``table`` on the role's search path; taken literally, no quotes.
    :raises ConfigurationError: the table's name is none; later, the connection, a grant or the schema is missing.
    """

    table: str = "public.reindex_vectors"

    what = "table of vectors"
    create = _CREATE
    privileges = ("SELECT", "INSERT", "UPDATE")

    @contextmanager
    def open(self) -> Iterator[_Session]:
        own = self._own
        with own.cursor() as cursor:
            yield _Session(cursor, own)

    def check(self) -> Iterator[Finding]:
        """Whether the table is there and ours to use; else, whether it can be made."""
        yield tried("table", self._own.state)


class _Session:
    """See :class:`~airflow_reindex_provider.core.embedding.cache.VectorCacheSession`."""

    def __init__(self, cursor: psycopg.Cursor[Any], own: OwnTable) -> None:
        self._cursor = cursor
        self._own = own
        self._lock = Lock()

    def having(self, hashes: Collection[bytes]) -> Collection[bytes]:
        return {hash for (hash,) in self._rows(_HAVING, hashes)}

    def find(self, hashes: Collection[bytes]) -> Mapping[bytes, Vector]:
        return {hash: _vector(stored) for hash, stored in self._rows(_FIND, hashes)}

    def keep(self, vectors: Mapping[bytes, Vector]) -> None:
        # In order, so that two tasks that keep the same texts wait for one another and not both.
        for hashes in _few(sorted(vectors)):
            with self._alone():
                values = {"hashes": hashes, "vectors": [_stored(vectors[hash]) for hash in hashes]}
                self._cursor.execute(self._own.sql(_KEEP), values)

    def _rows(self, statement: str, hashes: Collection[bytes]) -> Iterator[Sequence[Any]]:
        for some in _few(sorted(hashes)):
            with self._alone():
                rows = self._cursor.execute(self._own.sql(statement), {"hashes": some}, binary=True).fetchall()
            yield from rows

    @contextmanager
    def _alone(self) -> Iterator[None]:
        grant = f"GRANT {', '.join(self._own.privileges)} ON TABLE {self._own.table} to the role of the connection"
        with self._lock, self._own.explained(grant):
            yield


def _few(hashes: Sequence[bytes]) -> Iterator[list[bytes]]:
    for first in range(0, len(hashes), _STATEMENT_VECTORS):
        yield list(hashes[first : first + _STATEMENT_VECTORS])


def _stored(vector: Vector) -> bytes:
    """float32, the least byte first, whatever machine it is."""
    if sys.byteorder == "little":
        return vector.tobytes()
    turned = array("f", vector)
    turned.byteswap()
    return turned.tobytes()


def _vector(stored: bytes) -> Vector:
    vector = array("f", stored)
    if sys.byteorder != "little":
        vector.byteswap()
    return vector
