"""An open source of MariaDB or MySQL: its horizon is found by watching its sessions, or by the lag stated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, timedelta

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import HorizonError, ReindexError
from airflow_reindex_provider.core.findings import ok, warning, wrong
from airflow_reindex_provider.core.model import Finding, Horizon
from airflow_reindex_provider.sources.mysql import description
from airflow_reindex_provider.sources.mysql.definition import MySqlDefinition
from airflow_reindex_provider.sources.mysql.server import Server, look_at
from airflow_reindex_provider.sources.mysql.sessions import Watch
from airflow_reindex_provider.sources.sql import clock
from airflow_reindex_provider.sources.sql.asking import Asking
from airflow_reindex_provider.sources.sql.described import Described
from airflow_reindex_provider.sources.sql.session import TableSession


class MySqlSourceSession(TableSession):
    """See :class:`~airflow_reindex_provider.core.protocols.SourceSession`."""

    def __init__(self, source: MySqlDefinition, asking: Asking, stop: Callable[[], None]) -> None:
        super().__init__(source, asking)
        self._mysql = source
        self._stop = stop
        self._looked: Server | None = None

    def describe(self) -> Described:
        with self._asking.explained():
            found = description.describe(self._mysql, self._asking.connection)
        return replace(found, warnings=(*found.warnings, *self._server.doubts()))

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
