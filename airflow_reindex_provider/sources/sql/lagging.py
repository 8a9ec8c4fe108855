"""The horizon that a stated lag makes: the database's clock, or the greatest value seen, less that lag."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Horizon
from airflow_reindex_provider.sources.sql import clock
from airflow_reindex_provider.sources.sql.definition import TableDefinition


def of_time(source: TableDefinition, kind: CursorType, now: datetime, zone: str | None) -> Horizon:
    """:raises ConfigurationError: the lag is not one of time."""
    if not isinstance(source.lag, timedelta):
        raise ConfigurationError(f"{source.label}: the lag of a cursor made of time is a timedelta.")
    return Horizon(clock.safe_text(kind, now - source.lag, zone), _basis(source))


def of_numbers(source: TableDefinition, greatest: int | None) -> Horizon:
    """:raises ConfigurationError: the lag is not a number of values."""
    if isinstance(source.lag, timedelta) or source.lag is None:
        raise ConfigurationError(f"{source.label}: the lag of an integer cursor is a number of values.")
    if greatest is None:
        return Horizon(None, "no row has a cursor value")
    return Horizon(str(greatest + 1 - source.lag), _basis(source))


def _basis(source: TableDefinition) -> str:
    return f"lag of {source.lag} stated for the stream"
