"""Postgres as a source: a table or query, read below its horizon in the order of change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_reindex_provider.core.errors import ConfigurationError, HorizonError
from airflow_reindex_provider.core.model import Format, Key
from airflow_reindex_provider.databases.postgres.connection import connect
from airflow_reindex_provider.databases.postgres.settings import READER_TAG
from airflow_reindex_provider.sources.postgres.definition import PostgresDefinition

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

    from airflow_reindex_provider.sources.postgres.session import PostgresSourceSession
    from airflow_reindex_provider.sources.postgres.tombstones import Tombstones


@dataclass(frozen=True, slots=True)
class PostgresSource(PostgresDefinition):
    """A Postgres table or query whose rows carry their time of change.

    What keeps rows from being skipped is the *horizon*: the start of the oldest transaction that is open in the database,
    minus ``margin``, taken before any row is read. Nothing at or past it is read, so a row that was stamped with ``now()``
    and committed late is still ahead of the checkpoint. What it rests on, by the type of ``cursor_field``:

    * ``timestamptz``: stamped by the database with ``now()`` of the writing transaction, or later in it.
    * ``timestamp``: the same, in sessions whose TimeZone is ``cursor_timezone``, which must be stated.
    * ``date``: the same as of a ``timestamp``, with ``current_date``; a day is read once it is over.
    * integer: handed out in increasing order (a sequence with CACHE 1 in a trigger on every insert and update, or
      ``pg_current_xact_id()``). The horizon is the greatest value seen, once every transaction that was open at that
      moment has ended; while one stays open for more than ten seconds, nothing new is read.

    The role needs SELECT on the table, and ``pg_read_all_stats`` to see other sessions' transactions. Where it cannot have
    that, on a standby, where the application sets the timestamps itself, or where other transactions than those of this server
    make rows visible (foreign tables, materialized views, joins), state ``lag``; nothing is guessed.

    :param conn_id: Airflow connection of type Postgres.
    :param table: ``schema.table``, taken literally (no quotes), or a view of this name.
    :param query: a SELECT instead of a table; the keys of every window are looked at for one that stands for two rows.
    :param primary_key: one or several columns, unique and not null.
    :param cursor_field: the column that every change moves forward. Rows where it is NULL are left out and counted.
    :param columns: what to index besides the key; default: all columns.
    :param soft_delete_column: true, or any value but ``f`` and ``false`` in a column that is not boolean, takes the row out of
        the index.
    :param row_filter: SQL condition on the row; where it is not true, the row is taken out of the index.
    :param group_by: a column of text, integer, uuid, boolean, date or enum: a stream with groups has an index for each of its
        values. Rows where it is NULL are in none, and counted.
    :param group: the value of one group, as text: only its rows are in the index. ``Stream.of_group`` sets it.
    :param tombstones: read deletions from a table that triggers write deleted keys to, see :meth:`install_tombstones`. True for
        the table's own name with ``_tombstones`` after it, or another name, taken literally. Needs a table, and a cursor
        made of time.
    :param children: of other tables, which stand in each document as lists of objects and as objects:
        :class:`~airflow_reindex_provider.Child` and :class:`~airflow_reindex_provider.Parent`. Needs a table, and cursors made of
        time.
    :param lag: how long after its stamp a change may stay invisible at most; used instead of the open transactions.
        A timedelta; for an integer cursor a number of values.
    :param margin: distance kept below the oldest open transaction; default two seconds.
    :param cursor_timezone: TimeZone of the writers' sessions, for ``timestamp`` and ``date`` cursors.
    """

    formats: ClassVar[tuple[Format, ...]] = (Format.PG_COPY, Format.BULK, Format.ROWS)

    def tombstone_ddl(self) -> str:
        """The statements of :meth:`install_tombstones`, to be run by hand by the tables' owner."""
        statements = "\n".join(tombstones.installation() for tombstones in self._tombstones())
        return f"BEGIN;\n{statements}\nCOMMIT;"

    def install_tombstones(self, *, conn_id: str | None = None) -> None:
        """Make the tombstones' table, its trigger function and three triggers on the source's table, and the same for each table
        of its children, in one transaction. Doing it again keeps what is recorded.

        Waits at most ten seconds for a table's lock, which waits for transactions that write to it.

        :param conn_id: a connection of the table's owner; default: the source's own.
        """
        self._execute(lambda tombstones: tombstones.installation(), conn_id)

    def remove_tombstones(self, *, conn_id: str | None = None) -> None:
        """Drop all that :meth:`install_tombstones` made, and what was recorded. Nothing there is no error."""
        self._execute(lambda tombstones: tombstones.removal(), conn_id)

    def purge_tombstones(self, *, below: str, keep: Sequence[Key] = (), conn_id: str | None = None) -> int:
        """Delete recorded deletions below a cursor value; returns how many. ``airflow_reindex_provider.purge_tombstones`` knows
        which ones no index needs any more. Of what left a list of children, the last one stays as long as nothing else in the
        list is as late.

        :param keep: keys whose tombstones stay.
        """
        return self._execute(lambda tombstones: tombstones.purge(below, keep), conn_id)

    def count_tombstones(self, *, below: str, keep: Sequence[Key] = ()) -> int:
        """How many :meth:`purge_tombstones` would delete, asked over the source's own connection."""
        return sum(tombstones.count(below, keep) for tombstones in self._tombstones())

    def _execute(self, statement: Callable[[Tombstones], str | sql.Composed], conn_id: str | None) -> int:
        """For all tables in one transaction; returns how many rows changed."""
        from airflow_reindex_provider.sources.postgres.tombstones import execute

        return execute(self, map(statement, self._tombstones()), conn_id)

    def _tombstones(self) -> Sequence[Tombstones]:
        if not self.records_deletions:
            raise ConfigurationError(f"{self.label}: the source reads no tombstones. Give it tombstones=True.")
        with self.open() as session:
            return session.tombstones()

    @contextmanager
    def open(self) -> Iterator[PostgresSourceSession]:
        with self.connect() as connection:
            yield self.on(connection)

    @property
    def shares(self) -> str:
        """See ``core.watching.WatchableSource``, of this and the two that follow."""
        return f"postgres {self.conn_id}"

    def connect(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        return connect(self.conn_id, owner=f"Source {self.label}", tag=READER_TAG, read_only=True)

    def on(self, connection: psycopg.Connection[Any]) -> PostgresSourceSession:
        from airflow_reindex_provider.databases.postgres.transactions import at_server
        from airflow_reindex_provider.sources.postgres.session import PostgresSourceSession

        if at_server(connection).standby and self.lag is None:
            # In whatever a session is opened for: a horizon of the primary says nothing of the rows of a standby.
            raise HorizonError(
                f"{self.label} is a standby, which does not know the primary's open transactions: point the connection at the"
                " primary, or state lag (a timedelta, or a number of values, after which no change stays invisible)."
            )
        return PostgresSourceSession(self, connection)
