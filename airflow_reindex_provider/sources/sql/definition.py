"""What every source of a table says: the table, its key and cursor, and what is a member. Data alone, without a connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from datetime import timedelta
from typing import Any, Self, cast

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ConfigurationError


class RowsDefinition:
    """What every definition of rows says of their key and their groups. A frozen dataclass with these fields."""

    __slots__ = ()

    primary_key: str | tuple[str, ...]
    group_by: str | None
    group: str | None

    @property
    def key(self) -> tuple[str, ...]:
        """The primary key's columns."""
        return cast("tuple[str, ...]", self.primary_key)

    @property
    def has_groups(self) -> bool:
        return self.group_by is not None and self.group is None

    def of_group(self, value: str) -> Self:
        return cast("Self", replace(cast("Any", self), group=value))

    def require_column_of(self, label: str) -> None:
        """:raises ConfigurationError: it is one group's, and says of no column that it is a value of."""
        if self.group is not None and self.group_by is None:
            raise ConfigurationError(f"{label}: group={self.group!r} needs group_by, the column that it is a value of.")


@dataclass(frozen=True, slots=True)
class TableDefinition(RowsDefinition):
    """The fields that the sources of a table have in common; each source documents its own."""

    conn_id: str
    _: KW_ONLY
    table: str
    primary_key: str | tuple[str, ...]
    cursor_field: str
    columns: tuple[str, ...] | None = None
    soft_delete_column: str | None = None
    row_filter: str | None = None
    group_by: str | None = None
    group: str | None = None
    lag: timedelta | int | None = None
    cursor_timezone: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "primary_key", key_of(self.label, self.primary_key))
        if self.columns is not None:
            object.__setattr__(self, "columns", tuple(self.columns))
        if not all(self.split_table()[1:]) or len(self.split_table()) > 2:
            raise ConfigurationError(f"{self.label}: table is a name, or a schema's and a table's with a dot between.")
        require_lag(self.label, self.lag)
        self.require_column_of(self.label)

    @property
    def label(self) -> str:
        return f"{self.table} on connection {self.conn_id!r}"

    def split_table(self) -> tuple[str, ...]:
        """The schema, where one is named, and the table."""
        return tuple(self.table.split("."))

    def serialize(self) -> dict[str, Any]:
        """The arguments that make an equal source again."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "_"}

    @classmethod
    def deserialize(cls, value: Mapping[str, Any]) -> Self:
        return cls(**value)


def key_of(label: str, primary_key: str | tuple[str, ...]) -> tuple[str, ...]:
    """The columns that an author names. :raises ConfigurationError: none, or one of them twice."""
    key = (primary_key,) if isinstance(primary_key, str) else tuple(primary_key)
    if not key or not all(key) or len(set(key)) < len(key):
        raise ConfigurationError(f"{label}: primary_key needs one or several different columns, not {key!r}.")
    return key


def require_lag(label: str, lag: timedelta | int | None) -> None:
    """:raises ConfigurationError: it is negative."""
    if lag is not None and (lag < timedelta(0) if isinstance(lag, timedelta) else lag < 0):
        raise ConfigurationError(f"{label}: lag cannot be negative.")


def require_stamps(label: str, cursor_field: str, key: Sequence[str], kind: CursorType, *, of: str) -> None:
    """:param of: what gives a tombstone its time.
    :raises ConfigurationError: tombstones cannot be put in order with the rows."""
    if kind is CursorType.INTEGER:
        raise ConfigurationError(
            f"{label}: tombstones are stamped with the time of their {of}, and the cursor_field {cursor_field!r} counts. Use a"
            " soft_delete_column or a sweep, or a cursor_field made of time."
        )
    if cursor_field in key:
        raise ConfigurationError(f"{label}: with tombstones, cursor_field cannot be part of the primary_key.")
