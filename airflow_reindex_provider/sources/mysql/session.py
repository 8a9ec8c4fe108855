"""An open source of MariaDB or MySQL: its horizon is found by watching its sessions, or by the lag stated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, timedelta

import sqlalchemy as sa

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import HorizonError, ReindexError
from airflow_reindex_provider.core.findings import ok, warning, wrong
from airflow_reindex_provider.core.model import Finding, Format, Horizon, Key
from airflow_reindex_provider.sources.mysql import description
from airflow_reindex_provider.sources.mysql.copying import CopyForm
from airflow_reindex_provider.sources.mysql.definition import MySqlDefinition
from airflow_reindex_provider.sources.mysql.server import Server, look_at
from airflow_reindex_provider.sources.mysql.sessions import Watch
from airflow_reindex_provider.sources.mysql.tombstones import Tombstones
from airflow_reindex_provider.sources.sql import clock
from airflow_reindex_provider.sources.sql.asking import Asking
from airflow_reindex_provider.sources.sql.described import Described
from airflow_reindex_provider.sources.sql.forms import Form
from airflow_reindex_provider.sources.sql.relation import Relation
from airflow_reindex_provider.sources.sql.session import TableSession


class MySqlSourceSession(TableSession):
    """See :class:`~airflow_reindex_provider.core.protocols.SourceSession`."""

    def __init__(self, source: MySqlDefinition, asking: Asking, stop: Callable[[], None]) -> None:
        super().__init__(source, asking)
        self._mysql = source
        self._stop = stop
        self._looked: Server | None = None

    def describe(self) -> Described:
        found = self.described_alone()
        doubts = list(self._server.doubts())
        if self._mysql.records_deletions:
            tombstones = self.tombstones(found.schema.cursor_type)
            tombstones.require()
            found = self._with(found, tombstones)
            doubts += tombstones.doubts()
        return replace(found, warnings=(*found.warnings, *doubts))

    def tombstones(self, kind: CursorType | None = None) -> Tombstones:
        """Whether they are installed or not."""
        if kind is None:
            kind = self.described_alone().schema.cursor_type
        found = Tombstones.of(self._mysql, self._asking, kind, self._server.user)
        found.require_zone()
        return found

    def described_alone(self) -> Described:
        """Without what records its deletions."""
        with self._asking.explained():
            return description.describe(self._mysql, self._asking.connection)

    def purging(self, below: str, keep: Sequence[Key]) -> sa.Executable:
        """Deletes the tombstones below a cursor value, but for these keys."""
        part, where = self._old(below, keep)
        # As a table of its own name: DELETE knows no other one everywhere.
        return sa.delete(part).where(*where)

    def purgeable(self, below: str, keep: Sequence[Key]) -> int:
        part, where = self._old(below, keep)
        return int(self._asking.one(sa.select(sa.func.count()).select_from(part).where(*where))[0])

    def _old(self, below: str, keep: Sequence[Key]) -> tuple[sa.TableClause, list[sa.ColumnElement[bool]]]:
        found = self.described_alone()
        return self.tombstones(found.schema.cursor_type).old(found.relation.rows, below, keep)

    def _with(self, found: Described, tombstones: Tombstones) -> Described:
        rows = found.relation.rows
        schema = replace(found.schema, has_deletes=True)
        return replace(found, relation=Relation((rows, tombstones.part(rows))), schema=schema)

    def horizon(self, *, wait_s: float) -> Horizon:
        source, server = self._mysql, self._server
        server.require()
        if source.lag is not None:
            return self._floored(self.lagged())
        schema = self._described.schema
        if schema.cursor_type is CursorType.INTEGER:
            raise HorizonError(
                f"{source.label}: whether the integers of cursor_field {source.cursor_field!r} are handed out in increasing order"
                " cannot be seen. State lag (a number of values after which no change stays invisible), or name a TIMESTAMP(6)."
            )
        watch = Watch(self._asking, source.label, user=server.user)
        found = watch.moment(wait_s)
        if found is None:
            return Horizon(None, f"sessions watched for {wait_s:g} s", watch.held_by)
        safe = clock.safe_text(schema.cursor_type, found.replace(tzinfo=UTC) - source.margin, schema.cursor_timezone)
        return self._floored(Horizon(safe, f"all sessions seen free, less {source.margin.total_seconds():g} s"))

    def _form(self, format: Format, fields: Sequence[str]) -> Form:
        if format is Format.ROWS:
            return super()._form(format, fields)
        found = self._described
        return CopyForm(found.relation, found.schema, fields, longest=self._server.longest)

    def assumptions(self) -> Iterator[Finding]:
        doubts = list(self._server.doubts())
        # They are among the description's warnings.
        if not doubts:
            by = "the server" if self._source.lag is None else "whoever the lag is stated for"
            yield ok("stamps", f"cursor_field {self._source.cursor_field!r} is set by {by}.")
        if self._source.lag is not None:
            yield warning(
                "open transactions",
                f"They are not looked at: a change that stays invisible for longer than the lag of {self._source.lag} is skipped"
                " until a sweep finds it.",
            )
            return
        try:
            self._server.require()
        except ReindexError as error:
            yield wrong("open transactions", error)
            return
        yield ok("open transactions", f"User {self._server.user} sees those of all sessions.")

    def cancel(self) -> None:
        self._stop()

    @property
    def _server(self) -> Server:
        if self._looked is None:
            self._looked = look_at(self._mysql, self._asking)
        return self._looked

    def _floored(self, horizon: Horizon) -> Horizon:
        """A column of fewer digits cuts its stamps, so the bound is cut as well: it lies at or below all stamps still to come."""
        kind = self._described.schema.cursor_type
        if horizon.cursor is None or kind not in (CursorType.TIMESTAMPTZ, CursorType.TIMESTAMP):
            return horizon
        unit = timedelta(seconds=1) // 10**self._server.precision // timedelta(microseconds=1)
        ordinal = kind.ordinal(horizon.cursor)
        return replace(horizon, cursor=kind.text(ordinal - ordinal % unit))
