"""An open source of any database: its horizon is the database's clock, or the greatest value seen, less the lag stated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from airflow_reindex_provider.core.findings import warning
from airflow_reindex_provider.core.model import Finding, Horizon
from airflow_reindex_provider.sources.sql.described import Described
from airflow_reindex_provider.sources.sql.inspecting import describe
from airflow_reindex_provider.sources.sql.session import TableSession


class SqlSourceSession(TableSession):
    """See :class:`~airflow_reindex_provider.core.protocols.SourceSession`."""

    def describe(self) -> Described:
        with self._asking.explained():
            return describe(self._source, self._asking.connection)

    def horizon(self, *, wait_s: float) -> Horizon:
        return self.lagged()

    def assumptions(self) -> Iterator[Finding]:
        yield warning(
            "open transactions",
            f"They cannot be seen: a change that stays invisible for longer than the lag of {self._source.lag} is skipped until a"
            " sweep finds it.",
        )

    def cancel(self) -> None:
        # Each driver has a way of its own, and a page of rows soon ends where it has none.
        driver = self._asking.connection.connection.dbapi_connection
        for name in ("cancel_safe", "cancel", "interrupt"):
            if (stop := getattr(driver, name, None)) is not None:
                with suppress(Exception):
                    stop()
                return
