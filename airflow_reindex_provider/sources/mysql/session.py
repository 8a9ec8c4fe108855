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
from airflow_reindex_provider.sources.mysql.losses import Losses
from airflow_reindex_provider.sources.mysql.parts import Parts, Table, compose, describe_parts
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
        return self._describe(is_checked=True)

    def described_to_read(self) -> Described:
        return self._describe(is_checked=False)

    def _describe(self, *, is_checked: bool) -> Described:
        found = self.described_alone()
        doubts = list(self._server.doubts())
        parts = self._parts(found)
        tombstones = self._own_tombstones(found)
        if tombstones is not None:
            tombstones.require()
            doubts += tombstones.doubts()
        for part in parts.parts if is_checked else ():
            doubts += part.check()
        stones = None if tombstones is None else tombstones.part(found.relation.rows)
        if stones is not None:
            found = replace(found, schema=replace(found.schema, has_deletes=True))
        if parts.nodes:
            found = compose(self._mysql, found, parts, stones)
        elif stones is not None:
            found = replace(found, relation=Relation((found.relation.rows, stones)))
        return replace(found, warnings=tuple(dict.fromkeys((*found.warnings, *doubts))))

    def tombstones(self) -> list[Tombstones]:
        """Of all tables that have some, whether they are installed or not.

        :raises ConfigurationError: the source cannot have them."""
        found = self.described_alone()
        own = self._own_tombstones(found)
        losses = (part.losses for part in self._parts(found).parts)
        return [*([] if own is None else [own]), *(lost for lost in losses if lost is not None)]

    def _own_tombstones(self, found: Described) -> Tombstones | None:
        if not self._mysql.tombstones:
            return None
        tombstones = Tombstones.of(self._mysql, self._asking, found.schema.cursor_type, self._server.user)
        tombstones.require_zone()
        return tombstones

    def _parts(self, found: Described) -> Parts:
        if not self._mysql.children:
            return Parts((), (), ())
        parts = describe_parts(self._mysql, found, self._server, self._asking)
        for part in parts.parts:
            if part.losses is not None:
                part.losses.require_zone()
        return parts

    def described_alone(self) -> Described:
        """Without what records its deletions."""
        with self._asking.explained():
            return description.describe(self._mysql, self._asking.connection)

    def purging(self, below: str, keep: Sequence[Key]) -> Iterator[sa.Executable]:
        """Deletes the tombstones below a cursor value, but for these keys, and the losses that no version rests on."""
        found = self.described_alone()
        if (own := self._own_tombstones(found)) is not None:
            part, where = own.old(found.relation.rows, below, keep)
            # As a table of its own name: DELETE knows no other one everywhere.
            yield sa.delete(part).where(*where)
        for losses, table in self._losses(found):
            yield from losses.forgetting(table.rows, table.found.relation.rows.cursor, below)

    def purgeable(self, below: str, keep: Sequence[Key]) -> int:
        found, count = self.described_alone(), 0
        if (own := self._own_tombstones(found)) is not None:
            part, where = own.old(found.relation.rows, below, keep)
            count += int(self._asking.one(sa.select(sa.func.count()).select_from(part).where(*where))[0])
        for losses, table in self._losses(found):
            count += losses.forgettable(table.rows, table.found.relation.rows.cursor, below)
        return count

    def _losses(self, found: Described) -> Iterator[tuple[Losses, Table]]:
        """Each table of them once."""
        seen = set()
        for part in self._parts(found).parts:
            if part.losses is not None and part.part.losses not in seen:
                seen.add(part.part.losses)
                yield part.losses, part.table

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
