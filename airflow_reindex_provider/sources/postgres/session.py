"""An open Postgres source: surveys, plans and reads on one read-only connection in autocommit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import Any

import psycopg
from psycopg import sql

from airflow_reindex_provider.core.keys import Checksum, KeyRange, Listed
from airflow_reindex_provider.core.model import (
    Batch,
    Chunk,
    Finding,
    Format,
    Groups,
    Horizon,
    Key,
    Look,
    Outliers,
    Position,
    Schema,
    Slices,
    Survey,
    Window,
)
from airflow_reindex_provider.databases.postgres.listing import KeyList
from airflow_reindex_provider.sources.postgres import checking, horizon, listing, looking, outliers
from airflow_reindex_provider.sources.postgres.asking import asking
from airflow_reindex_provider.sources.postgres.cutting import Cutting
from airflow_reindex_provider.sources.postgres.definition import PostgresDefinition
from airflow_reindex_provider.sources.postgres.forms import BulkForm, CopyForm, Form, RowsForm
from airflow_reindex_provider.sources.postgres.reading import Reading
from airflow_reindex_provider.sources.postgres.relations import Relations, all_tombstones
from airflow_reindex_provider.sources.postgres.tombstones import Tombstones

CANCEL_TIMEOUT_S = 5.0


class PostgresSourceSession:
    """See :class:`~airflow_reindex_provider.core.protocols.SourceSession`."""

    def __init__(self, source: PostgresDefinition, connection: psycopg.Connection[Any]) -> None:
        self._source = source
        self._connection = connection
        self._found: Relations | None = None

    # -- what the source says of itself

    def survey(self) -> Survey:
        found = self._describe()
        if found.composition is not None:
            # Rights on all tables, and whether what joins them can be compared, must show before anything is written.
            with self._asking():
                self._connection.execute(sql.SQL("SELECT FROM {} LIMIT 0").format(found.changes.body))
        survey = horizon.survey(found.description, found.changed_rows, self._connection)
        told = [warning for part in found.parts for warning in part.warnings(self._connection)]
        return replace(survey, warnings=(*survey.warnings, *told)) if told else survey

    def schema(self) -> Schema:
        return self._relations.description.schema

    def tombstones(self) -> list[Tombstones]:
        """Of all tables that have some, whether they are installed or not.

        :raises ConfigurationError: the source cannot have them."""
        return all_tombstones(self._source, self._connection)

    def look(self, since: Position | None, *, limit: int) -> Look:
        found = self._describe()
        with self._asking():
            return looking.look(found, self._connection, since, limit)

    def peek(self, since: Position | None) -> bool:
        statement = self._relations.changes.exists_since(since)
        with self._asking():
            row = self._connection.execute(statement).fetchone()
        return bool(row and row[0])

    def glance(self) -> Horizon:
        found = self._describe()
        with self._asking():
            return horizon.glance(found.description, found.changes, self._connection)

    def check(self) -> Iterator[Finding]:
        with self._asking():
            yield from checking.check(self._source, self._connection)

    # -- windows and rows

    def has_changes(self, window: Window) -> bool:
        found = self._relations
        statement = (found.composition or found.changes).exists(window)
        with self._asking():
            row = self._connection.execute(statement).fetchone()
        return bool(row and row[0])

    def groups(self, window: Window, *, limit: int) -> Groups:
        found = self._relations
        members = found.rows
        if found.composition is not None and window.start is not None:
            members = found.documents(found.composition, window, fresh=True)
            window = Window(None, window.end)
        statement = members.groups(window, limit)
        with self._asking():
            rows = self._connection.execute(statement).fetchall()
        nulls = sum(count for value, count in rows if value is None)
        return Groups(tuple(value for value, _ in rows if value is not None)[:limit], nulls)

    def slices(self, window: Window, *, batch_rows: int, max_slices: int, fresh: bool = False) -> Slices:
        cutting = Cutting(self._relations, self._connection)
        with self._asking():
            return cutting.slices(window, batch_rows=batch_rows, max_slices=max_slices, fresh=fresh)

    def read(self, batch: Batch, *, format: Format, fields: Sequence[str], chunk_rows: int) -> Iterator[Chunk]:
        with self._asking():
            yield from self._reading(batch, format, fields, chunk_rows).chunks()

    def preparation(self, batch: Batch, *, format: Format, fields: Sequence[str]) -> str:
        with self._asking():
            return self._reading(batch, format, fields).preparation()

    def _reading(self, batch: Batch, format: Format, fields: Sequence[str], chunk_rows: int = 1) -> Reading:
        found = self._relations
        relation, schema = found.to_read(batch), found.description.schema
        if batch.keys:
            keys = listing.still_keys(self._connection, relation, batch.keys)
            batch = replace(
                batch, keys=keys, window=batch.window if keys else Window(batch.window.end, batch.window.end)
            )
        form: Form
        if format is Format.ROWS:
            form = RowsForm(relation, schema, fields, self._connection)
        else:
            form = (BulkForm if format is Format.BULK else CopyForm)(relation, schema, fields)
        return Reading(self._connection, form, batch, chunk_rows, self._source.label)

    def outliers(self) -> Outliers:
        found = self._relations
        with self._asking():
            return outliers.count(found, self._connection)

    # -- keys

    def keys_from(self, cursor: str) -> Iterator[Sequence[Key]]:
        found = self._relations
        with self._asking():
            yield from listing.keys_where(self._connection, found.changed_rows, found.since(Position(cursor)))

    def key_ranges(self, within: KeyRange, *, rows: int, max_ranges: int) -> Sequence[tuple[KeyRange, int]]:
        with self._asking():
            found = self._relations
            keys = listing.key_list(found.rows, found.description.schema, below="")
            return keys.key_ranges(self._connection, within, rows=rows, max_ranges=max_ranges)

    def keys(self, within: KeyRange, *, below: str) -> Iterator[Sequence[Listed]]:
        with self._asking():
            yield from self._keys(below).keys(self._connection, within)

    def checksum(self, within: KeyRange, *, below: str) -> Checksum | None:
        with self._asking():
            return self._keys(below).checksum(self._connection, within)

    def content_checksum(self, within: KeyRange, *, below: str, columns: Mapping[str, str]) -> Checksum | None:
        found = self._relations
        contents = listing.contents(found.members, found.description.schema, columns)
        if contents is None:
            return None
        with self._asking():
            return replace(self._keys(below), contents=contents).checksum(self._connection, within)

    def look_up(self, keys: Sequence[Key], *, below: str) -> Mapping[Key, Listed]:
        found = self._relations
        with self._asking():
            keys = listing.still_keys(self._connection, found.members, keys)
            if not keys:
                return {}
            asked = listing.same_keys(found.members, keys)
            listed = replace(self._keys(below), body=found.members_of(asked).body)
            return listed.look_up(self._connection, asked)

    def cancel(self) -> None:
        with suppress(psycopg.Error):
            self._connection.cancel_safe(timeout=CANCEL_TIMEOUT_S)

    # -- what all of these need

    def _describe(self) -> Relations:
        self._found = Relations.described(self._source, self._connection)
        return self._found

    @property
    def _relations(self) -> Relations:
        return self._found or self._describe()

    def _keys(self, below: str) -> KeyList:
        found = self._relations
        return listing.key_list(found.members, found.description.schema, below=below)

    def _asking(self) -> AbstractContextManager[None]:
        return asking(self._source, self._connection)
