"""What a MySQL source says beside what every source of a table does. Data alone, without a connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.sources.sql.children import Child, Parent, children_of
from airflow_reindex_provider.sources.sql.definition import TableDefinition
from airflow_reindex_provider.sources.sql.parts import Part, parts_of

_MOST_LETTERS = 64 - len("_update")


@dataclass(frozen=True, slots=True)
class MySqlDefinition(TableDefinition):
    """The fields of :class:`~airflow_reindex_provider.MySqlSource`, which documents them."""

    margin: timedelta = field(default=timedelta(seconds=2), kw_only=True)
    tombstones: bool | str = field(default=False, kw_only=True)
    children: tuple[Child | Parent, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        # The class is made anew for its slots, so super() without arguments would not find it.
        TableDefinition.__post_init__(self)
        if self.margin < timedelta(0):
            raise ConfigurationError(f"{self.label}: margin cannot be negative.")
        object.__setattr__(self, "children", children_of(self.children))
        parts = [part for top in self.parts for part in top.walk()]
        for table in (part.table for part in parts):
            if not all(table.split(".")[-2:]) or table.count(".") > 1:
                raise ConfigurationError(
                    f"{self.label}: {table!r} is no name of a table, nor a database's and a table's."
                )
        for name in (self.tombstone_table, *(part.losses for part in parts)):
            self._require_room(name or "")

    def _require_room(self, name: str) -> None:
        if len(name.split(".")[-1]) > _MOST_LETTERS:
            raise ConfigurationError(
                f"{self.label}: {name!r} is too long a name, since triggers are called after it: name the"
                f" tombstones' table yourself, with at most {_MOST_LETTERS} letters, tombstones='name' or 'database.name'."
            )

    @property
    def tombstone_table(self) -> str | None:
        """Name of the tombstones' table; None without tombstones."""
        return f"{self.table}_tombstones" if self.tombstones is True else self.tombstones or None

    @property
    def records_deletions(self) -> bool:
        """Whether there are tombstones of anything."""
        return bool(self.tombstones) or any(part.losses for top in self.parts for part in top.walk())

    @property
    def parts(self) -> tuple[Part, ...]:
        """What a document is made of besides its row."""
        return parts_of(self.label, self.key, self.children)

    def serialize(self) -> dict[str, Any]:
        return TableDefinition.serialize(self) | {"children": [child.to_json() for child in self.children]}
