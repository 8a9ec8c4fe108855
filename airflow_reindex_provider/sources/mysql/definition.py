"""What a MySQL source says beside what every source of a table does. Data alone, without a connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.sources.sql.definition import TableDefinition

_MOST_LETTERS = 64 - len("_update")


@dataclass(frozen=True, slots=True)
class MySqlDefinition(TableDefinition):
    """The fields of :class:`~airflow_reindex_provider.MySqlSource`, which documents them."""

    margin: timedelta = field(default=timedelta(seconds=2), kw_only=True)
    tombstones: bool | str = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        # The class is made anew for its slots, so super() without arguments would not find it.
        TableDefinition.__post_init__(self)
        if self.margin < timedelta(0):
            raise ConfigurationError(f"{self.label}: margin cannot be negative.")
        if len((self.tombstone_table or "").split(".")[-1]) > _MOST_LETTERS:
            raise ConfigurationError(
                f"{self.label}: {self.tombstone_table!r} is too long a name, since triggers are called after it: name the"
                f" tombstones' table yourself, with at most {_MOST_LETTERS} letters, tombstones='name' or 'database.name'."
            )

    @property
    def tombstone_table(self) -> str | None:
        """Name of the tombstones' table; None without tombstones."""
        return f"{self.table}_tombstones" if self.tombstones is True else self.tombstones or None

    @property
    def records_deletions(self) -> bool:
        return bool(self.tombstones)
