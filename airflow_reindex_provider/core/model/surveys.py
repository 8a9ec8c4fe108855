"""What a source says of itself before a row is read."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_reindex_provider.core.model.rows import Schema
from airflow_reindex_provider.core.model.words import Window


@dataclass(frozen=True, slots=True)
class Horizon:
    """The bound below which no row of the source can still appear or change unseen.

    ``cursor`` is None while nothing at all is safe (a prepared transaction is open, say); ``held_by`` then says why.
    """

    cursor: str | None
    basis: str
    held_by: str | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """What a source says of itself before a row is read: its columns, its clock and its horizon."""

    schema: Schema
    horizon: Horizon
    now: str | None
    """The source's clock as a cursor value; None where the cursor is not made of time."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Slices:
    """A window cut into parts of nearly equal size, in order and without gaps."""

    parts: tuple[tuple[Window, int], ...]
    null_cursors: int | None = None
    """Rows left out because their cursor field is NULL; None where counting them would scan the table."""

    @property
    def rows(self) -> int:
        return sum(rows for _, rows in self.parts)


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of a source, by the values of a column as text. :ivar nulls: rows that are in no group, their value is NULL."""

    values: tuple[str, ...] = ()
    nulls: int = 0
