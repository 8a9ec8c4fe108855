"""Checkpoints in a Postgres table: the strongest keeping place, since Postgres compares and sets in one statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any

from airflow_reindex_provider.checkpoints.stored import conflict, invalid, read_checkpoint, told
from airflow_reindex_provider.core.errors import CheckpointInvalidError
from airflow_reindex_provider.core.findings import tried
from airflow_reindex_provider.core.model import Checkpoint, Finding
from airflow_reindex_provider.databases.postgres.names import identifier, render
from airflow_reindex_provider.databases.postgres.own_table import InOwnTable

_CREATE = """CREATE TABLE IF NOT EXISTS {table} (
    stream text NOT NULL,
    generation text NOT NULL,
    cursor text,
    key text[] NOT NULL DEFAULT '{{}}',
    parked jsonb NOT NULL DEFAULT '[]',
    version bigint NOT NULL DEFAULT 1,
    saved_at timestamptz,
    saved_by text,
    PRIMARY KEY (stream, generation)
)"""

_LOAD = """SELECT cursor, key, parked, version, saved_at, saved_by
FROM {table} WHERE stream = %(stream)s AND generation = %(generation)s"""

_SAVE_FIRST = """INSERT INTO {table} (stream, generation, cursor, key, parked, version, saved_at, saved_by)
VALUES (%(stream)s, %(generation)s, %(cursor)s, %(key)s, %(parked)s, 1, %(saved_at)s, %(saved_by)s)
ON CONFLICT DO NOTHING
RETURNING version"""

_SAVE_NEXT = """UPDATE {table}
SET cursor = %(cursor)s, key = %(key)s, parked = %(parked)s, version = version + 1,
    saved_at = %(saved_at)s, saved_by = %(saved_by)s
WHERE stream = %(stream)s AND generation = %(generation)s AND version = %(version)s
RETURNING version"""

_KEPT = """SELECT stream, generation, cursor, key, parked, version, saved_at, saved_by
FROM {table} ORDER BY stream, generation"""

_RESET = "DELETE FROM {table} WHERE stream = %(stream)s AND generation = %(generation)s"


@dataclass(frozen=True)
class TableCheckpoint(InOwnTable):
    """One row for each (stream, generation) in a table that is made on first use.

    Saving is a compare-and-set in one statement: of several runs that read the same version exactly one wins, the
    others get a ``CheckpointConflictError`` and nothing of theirs is stored. What ``save`` has returned survives a
    crash as every commit of that database does. Works in any process that can reach the connection.

    :param conn_id: a Postgres connection; its role needs SELECT, INSERT, UPDATE and DELETE on the table, and CREATE on
        the schema if the table is to be made.
    :param table: ``schema.table``, or ``table`` on the role's search path; taken literally, no quotes.
    :raises ConfigurationError: the table's name is none; later, the connection, a grant or the schema is missing.
    """

    table: str = "public.reindex_checkpoint"

    what = "checkpoint table"
    create = _CREATE
    privileges = ("SELECT", "INSERT", "UPDATE", "DELETE")

    def load(self, stream: str, generation: str) -> Checkpoint:
        from psycopg import DataError

        where = self.where(stream, generation)
        with self._own.cursor() as cursor:
            try:
                row = cursor.execute(self._own.sql(_LOAD), {"stream": stream, "generation": generation}).fetchone()
            except DataError as error:
                raise invalid(str(error), where) from error
        if row is None:
            return Checkpoint(stream, generation)
        return self._read(stream, generation, row)

    def _read(self, stream: str, generation: str, row: Sequence[Any]) -> Checkpoint:
        position, key, parked, version, saved_at, saved_by = row
        value = {
            "cursor": position,
            "key": key,
            "parked": parked,
            "version": version,
            "saved_at": saved_at and saved_at.astimezone(UTC).isoformat(),
            "saved_by": saved_by,
        }
        return read_checkpoint(value, stream=stream, generation=generation, where=self.where(stream, generation))

    def save(self, checkpoint: Checkpoint) -> Checkpoint:
        from psycopg.types.json import Jsonb

        values = checkpoint.to_json()
        statement = _SAVE_NEXT if checkpoint.version else _SAVE_FIRST
        with self._own.cursor() as cursor:
            row = cursor.execute(self._own.sql(statement), {**values, "parked": Jsonb(values["parked"])}).fetchone()
        if row is None:
            raise conflict(checkpoint, self.where(checkpoint.stream, checkpoint.generation))
        return replace(checkpoint, version=row[0])

    def reset(self, stream: str, generation: str) -> None:
        with self._own.cursor() as cursor:
            cursor.execute(self._own.sql(_RESET), {"stream": stream, "generation": generation})

    def kept(self) -> Iterator[Checkpoint]:
        from psycopg import DataError

        with self._own.cursor() as cursor:
            try:
                rows = cursor.execute(self._own.sql(_KEPT)).fetchall()
            except DataError as error:
                raise invalid(str(error), f"It is a row of the table {self.table} of {self.conn_id!r}.") from error
        for stream, generation, *row in rows:
            with suppress(CheckpointInvalidError):
                yield self._read(stream, generation, row)

    def check(self) -> Iterator[Finding]:
        """Whether the table is there and ours to use; else, whether it can be made."""
        yield tried("store", self._own.state)

    def where(self, stream: str, generation: str) -> str:
        from psycopg import sql

        literals = {"stream": sql.Literal(stream), "generation": sql.Literal(generation)}
        condition = render(sql.SQL("stream = {stream} AND generation = {generation}").format(**literals))
        table = render(identifier(self.table))
        return told(
            stream,
            generation,
            place=f"the row with {condition} in the table {table} of the connection {self.conn_id!r}",
            reset=f"DELETE FROM {table} WHERE {condition};",
        )
