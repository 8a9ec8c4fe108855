"""What a MySQL source says beside what every source of a table does. Data alone, without a connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.sources.sql.definition import TableDefinition


@dataclass(frozen=True, slots=True)
class MySqlDefinition(TableDefinition):
    """The fields of :class:`~airflow_reindex_provider.MySqlSource`, which documents them."""

    margin: timedelta = field(default=timedelta(seconds=2), kw_only=True)

    def __post_init__(self) -> None:
        # The class is made anew for its slots, so super() without arguments would not find it.
        TableDefinition.__post_init__(self)
        if self.margin < timedelta(0):
            raise ConfigurationError(f"{self.label}: margin cannot be negative.")
