"""What a source says of itself before a row is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from airflow_reindex_provider.core.model.rows import Schema
from airflow_reindex_provider.core.model.words import Window

MOST_COUNTED = 1000
"""How far a plan counts rows that no window reaches; that many stand for more."""


@dataclass(frozen=True, slots=True)
class Horizon:
    """The bound below which no row of the source can still appear or change unseen.

    ``cursor`` is None while nothing at all is safe (a prepared transaction is open, say). ``held_by`` says who keeps it there,
    or who has held it back for long.
    """

    cursor: str | None
    basis: str
    held_by: str | None = None


@dataclass(frozen=True, slots=True)
class Counter:
    """Where an integer cursor stands.

    :ivar greatest: the greatest value that a row has; None where no row has one. :ivar least: the least that a row may get
        from now on, as what hands the values out says; None where that cannot be seen. :ivar what: hands them out, in words; or
        why it cannot be seen."""

    greatest: int | None
    least: int | None
    what: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What a source says of itself before a row is read: its columns, its clock and its horizon."""

    schema: Schema
    horizon: Horizon
    now: str | None
    """The source's clock as a cursor value; None where the cursor is not made of time."""
    warnings: tuple[str, ...] = ()
    counter: Counter | None = None
    """Of an integer cursor, which no clock bounds."""
    identity: Mapping[str, str] = field(default_factory=dict)
    """What is another one after a restore or on another server, and the same after a restart; as far as it can be seen."""


@dataclass(frozen=True, slots=True)
class Look:
    """What waits in a source at one moment, deletions that it remembers included.

    :ivar at: the source's clock, ISO 8601 in UTC. :ivar waiting: changes at or past a place that are not stamped ahead of the
        clock. :ivar ahead: rows that are. :ivar limit: how far each was counted; that many stand for more.
    :ivar oldest: cursor value of the oldest change that waits. :ivar oldest_at: when that was; None where the cursor is not made
        of time, or nothing waits."""

    at: datetime
    waiting: int
    ahead: int
    limit: int
    oldest: str | None
    oldest_at: datetime | None
    horizon: Horizon


@dataclass(frozen=True, slots=True)
class Outliers:
    """Rows that runs do not reach, however much time passes.

    :ivar nulls: without a value in the cursor field. :ivar ahead: further ahead of the source's clock than clocks can explain,
        ``infinity`` included. :ivar endless: at ``-infinity``, before every checkpoint: only a load from the first row on reads
        them."""

    nulls: int = 0
    ahead: int = 0
    endless: int = 0


@dataclass(frozen=True, slots=True)
class Slices:
    """A window cut into parts of nearly equal size, in order and without gaps."""

    parts: tuple[tuple[Window, int], ...]
    null_cursors: int | None = None
    """Rows left out because their cursor field is NULL; None where counting them would scan the table."""
    ahead_cursors: int | None = None
    """As ``Outliers.ahead``, at most ``MOST_COUNTED``; None where counting them would scan the table."""
    endless_cursors: int | None = None
    """As ``Outliers.endless``, likewise."""
    changed: Window | None = None
    """See ``Batch.changed``."""
    tables: Mapping[str, int] = field(default_factory=dict, hash=False)
    """See ``Plan.tables``."""

    @property
    def rows(self) -> int:
        return sum(rows for _, rows in self.parts)


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of a source, by the values of a column as text. :ivar nulls: rows that are in no group, their value is NULL.
    :ivar warnings: what a person should know of all of them."""

    values: tuple[str, ...] = ()
    nulls: int = 0
    warnings: tuple[str, ...] = ()
