"""Postgres as a source: a table or query, read below its horizon in the order of change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow_reindex_provider.common.postgres import READER_TAG, connect, split_name
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Format, Key

if TYPE_CHECKING:
    from airflow_reindex_provider.sources.postgres.session import PostgresSourceSession
    from airflow_reindex_provider.sources.postgres.tombstones import Tombstones

_MAX_TOMBSTONES_BYTES = 63 - len("_truncate")


@dataclass(frozen=True, slots=True)
class PostgresSource:
    """A Postgres table or query whose rows carry their time of change.

    What keeps rows from being skipped is the *horizon*: the start of the oldest transaction that is open in the database,
    minus ``margin``, taken before any row is read. Nothing at or past it is read, so a row that was stamped with ``now()``
    and committed late is still ahead of the checkpoint. What it rests on, by the type of ``cursor_field``:

    * ``timestamptz``: stamped by the database with ``now()`` of the writing transaction, or later in it.
    * ``timestamp``: the same, in sessions whose TimeZone is ``cursor_timezone``, which must be stated.
    * ``date``: the same, with ``current_date``; a day is read once it is over, so changes arrive the day after.
    * integer: handed out in increasing order (a sequence with CACHE 1 in a trigger on every insert and update, or
      ``pg_current_xact_id()``). The horizon is the greatest value seen, once every transaction that was open at that
      moment has ended; while one stays open for more than ten seconds, nothing new is read.

    The role needs SELECT on the table, and ``pg_read_all_stats`` to see other sessions' transactions. Where it cannot have
    that, on a standby, or where the application sets the timestamps itself, state ``lag``; nothing is guessed.

    :param conn_id: Airflow connection of type Postgres.
    :param table: ``schema.table``, taken literally (no quotes). A view works like a query.
    :param query: a SELECT instead of a table; its keys are checked for uniqueness in every window.
    :param primary_key: one or several columns, unique and not null.
    :param cursor_field: the column that every change moves forward. Rows where it is NULL are left out and counted.
    :param columns: what to index besides the key; default: all columns.
    :param soft_delete_column: true, or any value in a column that is not boolean, takes the row out of the index.
    :param row_filter: SQL condition on the row; where it is not true, the row is taken out of the index.
    :param group_by: a column of text, integer, uuid, boolean, date or enum: a stream with groups has an index for each of its
        values. Rows where it is NULL are in none, and counted.
    :param group: the value of one group, as text: only its rows are in the index. ``Stream.of_group`` sets it.
    :param tombstones: read deletions from a table that triggers write deleted keys to, see :meth:`install_tombstones`. True for
        the table's own name with ``_tombstones`` after it, or another name, taken literally. Needs a table, and a cursor
        made of time.
    :param lag: how long after its stamp a change may stay invisible at most; used instead of the open transactions.
        A timedelta; for an integer cursor a number of values.
    :param margin: distance kept below the oldest open transaction; default two seconds.
    :param cursor_timezone: TimeZone of the writers' sessions, for ``timestamp`` and ``date`` cursors.
    """

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
    lag: timedelta | int | None = None
    margin: timedelta = timedelta(seconds=2)
    cursor_timezone: str | None = None

    formats: ClassVar[tuple[Format, ...]] = (Format.PG_COPY, Format.BULK, Format.ROWS)

    def __post_init__(self) -> None:
        key = (self.primary_key,) if isinstance(self.primary_key, str) else tuple(self.primary_key)
        object.__setattr__(self, "primary_key", key)
        if self.columns is not None:
            object.__setattr__(self, "columns", tuple(self.columns))
        if (self.table is None) == (self.query is None):
            raise ConfigurationError(f"PostgresSource on {self.conn_id!r}: give either table or query.")
        if not key or not all(key) or len(set(key)) < len(key):
            raise ConfigurationError(f"{self.label}: primary_key needs one or several different columns, not {key!r}.")
        if self.table is not None:
            split_name(self.table)
        elif self.tombstones:
            raise ConfigurationError(f"{self.label}: tombstones need a table, since a query has no triggers.")
        if self.tombstone_table and len(split_name(self.tombstone_table)[1].encode()) > _MAX_TOMBSTONES_BYTES:
            raise ConfigurationError(
                f"{self.label}: {self.tombstone_table!r} is too long a name, since triggers are called after it: name the"
                f" tombstones' table yourself, with at most {_MAX_TOMBSTONES_BYTES} bytes, tombstones='schema.name'."
            )
        if isinstance(self.lag, timedelta) and self.lag < timedelta(0):
            raise ConfigurationError(f"{self.label}: lag cannot be negative.")
        if self.group is not None and self.group_by is None:
            raise ConfigurationError(
                f"{self.label}: group={self.group!r} needs group_by, the column that it is a value of."
            )

    @property
    def key(self) -> tuple[str, ...]:
        """The primary key's columns."""
        return cast("tuple[str, ...]", self.primary_key)

    @property
    def has_groups(self) -> bool:
        return self.group_by is not None and self.group is None

    def of_group(self, value: str) -> PostgresSource:
        return replace(self, group=value)

    @property
    def label(self) -> str:
        return f"{self.table or 'query'} on connection {self.conn_id!r}"

    @property
    def tombstone_table(self) -> str | None:
        """Name of the tombstones' table; None without tombstones."""
        return f"{self.table}_tombstones" if self.tombstones is True else self.tombstones or None

    def tombstone_ddl(self) -> str:
        """The statements of :meth:`install_tombstones`, to be run by hand by the table's owner."""
        return self._tombstones().ddl()

    def install_tombstones(self, *, conn_id: str | None = None) -> None:
        """Make the tombstones' table, its trigger function and three triggers on the source's table, in one transaction. Doing
        it again keeps what is recorded.

        Waits at most ten seconds for the table's lock, which waits for transactions that write to it.

        :param conn_id: a connection of the table's owner; default: the source's own.
        """
        tombstones = self._tombstones()
        tombstones.execute(tombstones.ddl(), conn_id)

    def remove_tombstones(self, *, conn_id: str | None = None) -> None:
        """Drop all that :meth:`install_tombstones` made, and what was recorded. Nothing there is no error."""
        tombstones = self._tombstones()
        tombstones.execute(tombstones.removal(), conn_id)

    def purge_tombstones(self, *, below: str, keep: Sequence[Key] = (), conn_id: str | None = None) -> int:
        """Delete recorded deletions below a cursor value; returns how many. ``airflow_reindex_provider.purge_tombstones`` knows
        which ones no index needs any more.

        :param keep: keys whose tombstones stay.
        """
        tombstones = self._tombstones()
        return tombstones.execute(tombstones.purge(below, keep), conn_id)

    def _tombstones(self) -> Tombstones:
        if not self.tombstones:
            raise ConfigurationError(f"{self.label}: the source reads no tombstones. Give it tombstones=True.")
        with self.open() as session:
            return session.tombstones()

    def serialize(self) -> dict[str, Any]:
        """The arguments that make an equal source again."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "_"}

    @classmethod
    def deserialize(cls, value: Mapping[str, Any]) -> PostgresSource:
        return cls(**value)

    @contextmanager
    def open(self) -> Iterator[PostgresSourceSession]:
        from airflow_reindex_provider.sources.postgres.session import PostgresSourceSession

        with connect(self.conn_id, owner=f"Source {self.label}", tag=READER_TAG, read_only=True) as connection:
            yield PostgresSourceSession(self, connection)
