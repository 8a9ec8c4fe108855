"""What a Postgres source says: the table or query, its key and cursor, and how rows leave. Data alone, without a connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, fields
from datetime import timedelta
from typing import Any, Self

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.databases.postgres.names import split_name
from airflow_reindex_provider.sources.sql.children import Child, Parent, children_of
from airflow_reindex_provider.sources.sql.definition import RowsDefinition, key_of, require_lag
from airflow_reindex_provider.sources.sql.parts import Part, parts_of

_MAX_TOMBSTONES_BYTES = 63 - len("_truncate")


@dataclass(frozen=True, slots=True)
class PostgresDefinition(RowsDefinition):
    """The fields of a :class:`~airflow_reindex_provider.sources.postgres.source.PostgresSource`, which documents them."""

    conn_id: str
    _: KW_ONLY
    primary_key: str | tuple[str, ...]
    cursor_field: str
    table: str | None = None
    query: str | None = None
    columns: tuple[str, ...] | None = None
    soft_delete_column: str | None = None
    row_filter: str | None = None
    group_by: str | None = None
    group: str | None = None
    tombstones: bool | str = False
    children: tuple[Child | Parent, ...] = ()
    lag: timedelta | int | None = None
    margin: timedelta = timedelta(seconds=2)
    cursor_timezone: str | None = None

    def __post_init__(self) -> None:
        if self.columns is not None:
            object.__setattr__(self, "columns", tuple(self.columns))
        object.__setattr__(self, "children", children_of(self.children))
        if (self.table is None) == (self.query is None):
            raise ConfigurationError(f"PostgresSource on {self.conn_id!r}: give either table or query.")
        object.__setattr__(self, "primary_key", key_of(self.label, self.primary_key))
        if self.query is not None:
            # What psql wants at the end of a statement; the query becomes a part of another.
            object.__setattr__(self, "query", self.query.rstrip("; \t\r\n"))
            if not self.query:
                raise ConfigurationError(
                    f"PostgresSource on {self.conn_id!r}: query is empty. Give it one SELECT, or a table."
                )
        if self.table is not None:
            split_name(self.table)
        elif self.children:
            raise ConfigurationError(f"{self.label}: children need a table, whose rows they are joined to.")
        elif self.tombstones:
            raise ConfigurationError(f"{self.label}: tombstones need a table, since a query has no triggers.")
        _require_room(self.label, self.tombstone_table)
        for part in (p for top in self.parts for p in top.walk()):
            split_name(part.table)
            _require_room(self.label, part.losses)
        require_lag(self.label, self.lag)
        self.require_column_of(self.label)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What a document is made of besides its row."""
        return parts_of(self.label, self.key, self.children)

    @property
    def label(self) -> str:
        return f"{self.table or 'query'} on connection {self.conn_id!r}"

    @property
    def tombstone_table(self) -> str | None:
        """Name of the tombstones' table; None without tombstones."""
        return f"{self.table}_tombstones" if self.tombstones is True else self.tombstones or None

    @property
    def records_deletions(self) -> bool:
        """Whether there are tombstones of anything."""
        return bool(self.tombstones) or any(part.losses for top in self.parts for part in top.walk())

    def serialize(self) -> dict[str, Any]:
        """The arguments that make an equal source again."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "_"}
        return values | {"children": [child.to_json() for child in self.children]}

    @classmethod
    def deserialize(cls, value: Mapping[str, Any]) -> Self:
        return cls(**value)


def _require_room(label: str, tombstones: str | None) -> None:
    if tombstones and len(split_name(tombstones)[1].encode()) > _MAX_TOMBSTONES_BYTES:
        raise ConfigurationError(
            f"{label}: {tombstones!r} is too long a name, since triggers are called after it: name the tombstones' table"
            f" yourself, with at most {_MAX_TOMBSTONES_BYTES} bytes, tombstones='schema.name'."
        )
