"""An open source of any database: its horizon is the database's clock, or the greatest value seen, less the lag stated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ConfigurationError, ReindexError
from airflow_reindex_provider.core.findings import ok, warning, wrong
from airflow_reindex_provider.core.model import Counter, Finding, Horizon, Survey
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.sources.dbapi.description import describe
from airflow_reindex_provider.sources.sql import clock
from airflow_reindex_provider.sources.sql.described import Described
from airflow_reindex_provider.sources.sql.session import TableSession

CLOCKS_APART_S = 5.0


class SqlSourceSession(TableSession):
    """See :class:`~airflow_reindex_provider.core.protocols.SourceSession`."""

    def describe(self) -> Described:
        with self._asking.explained():
            return describe(self._source, self._asking.connection)

    def survey(self) -> Survey:
        self._found = found = self.describe()
        kind = found.schema.cursor_type
        if kind is CursorType.INTEGER:
            greatest = self._greatest()
            counter = Counter(greatest, None, "whoever writes the rows")
            return Survey(found.schema, self._horizon(), None, found.warnings, counter)
        # In this order: two looks at a clock, and nothing past the second one is read.
        horizon = self._horizon()
        now = clock.now_text(kind, self.now(), found.schema.cursor_timezone)
        return Survey(found.schema, horizon, now, found.warnings)

    def glance(self) -> Horizon:
        return self._horizon()

    def check(self) -> Iterator[Finding]:
        try:
            self._found = found = self.describe()
        except ReindexError as error:
            yield wrong("table", error)
            return
        schema = found.schema
        yield ok(
            "table",
            f"{self._source.label}: {len(schema.fields)} columns, primary_key ({', '.join(schema.primary_key)}), cursor_field"
            f" {self._source.cursor_field!r} ({schema.cursor_type}).",
        )
        if found.warnings:
            yield from (warning("index", says) for says in found.warnings)
        else:
            yield ok("index", "There is one that begins with the cursor field, or none is needed.")
        yield warning(
            "open transactions",
            f"They cannot be seen: a change that stays invisible for longer than the lag of {self._source.lag} is skipped until a"
            " sweep finds it.",
        )
        try:
            horizon = self._horizon()
            yield ok("horizon", f"{horizon.cursor or 'None yet'} ({horizon.basis}).")
            asked, said, answered = utc_now(), self.now(), utc_now()
        except ReindexError as error:
            yield wrong("horizon", error)
            return
        apart = max((asked - said).total_seconds(), (said - answered).total_seconds(), 0.0)
        if apart > CLOCKS_APART_S:
            yield warning("clock", f"The server's clock and this machine's are {apart:,.0f} s apart.")
        else:
            yield ok("clock", f"Less than {max(1.0, apart):.0f} s from this machine's.")

    def cancel(self) -> None:
        # Each driver has a way of its own, and a page of rows soon ends where it has none.
        driver = self._asking.connection.connection.dbapi_connection
        for name in ("cancel_safe", "cancel", "interrupt"):
            if (stop := getattr(driver, name, None)) is not None:
                with suppress(Exception):
                    stop()
                return

    def _greatest(self) -> int | None:
        row = self._asking.first(self._described.relation.greatest_cursor())
        return None if row is None else self._described.relation.rows.cursor.ordinal(row[0])

    def _horizon(self) -> Horizon:
        found, lag = self._described, self._source.lag
        kind, basis = found.schema.cursor_type, f"lag of {lag} stated for the stream"
        if kind is CursorType.INTEGER:
            if isinstance(lag, timedelta) or lag is None:
                raise ConfigurationError(f"{self._source.label}: the lag of an integer cursor is a number of values.")
            greatest = self._greatest()
            if greatest is None:
                return Horizon(None, "no row has a cursor value")
            return Horizon(str(greatest + 1 - lag), basis)
        if not isinstance(lag, timedelta):
            raise ConfigurationError(f"{self._source.label}: the lag of a cursor made of time is a timedelta.")
        return Horizon(clock.safe_text(kind, self.now() - lag, found.schema.cursor_timezone), basis)
