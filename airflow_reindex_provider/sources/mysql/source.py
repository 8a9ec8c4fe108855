"""MySQL and MariaDB as a source: a table, read below its horizon in the order of change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Format, Key
from airflow_reindex_provider.sources.mysql.definition import MySqlDefinition

if TYPE_CHECKING:
    from airflow_reindex_provider.sources.mysql.session import MySqlSourceSession
    from airflow_reindex_provider.sources.mysql.tombstones import Tombstones


@dataclass(frozen=True, slots=True)
class MySqlSource(MySqlDefinition):
    """A table of MariaDB or MySQL whose rows carry their time of change.

    The *horizon* is found by watching: before any row is read, the server's list of sessions and InnoDB's of
    transactions are taken until each session that could still write an older stamp has been seen without a statement and a
    transaction, or in another transaction. Nothing at or past the first moment of which that holds, minus ``margin``, is read. A
    session that stays in one transaction, or one statement, for more than ten seconds holds the horizon back entirely: the run
    reads nothing new and names it. Sessions that may only read hold nothing.

    It rests on stamps by the server's clock: ``CURRENT_TIMESTAMP`` of the writing statement, or later. The user needs SELECT on
    the table, PROCESS and, on MariaDB, SLAVE MONITOR, or on MySQL REPLICATION CLIENT. On a replica, in a Galera cluster or a
    replication group, before MySQL 8.0.22, for a view, for a table that is not kept by InnoDB, for an integer cursor, and where
    the application sets the stamps itself, state ``lag``; nothing is guessed.

    :param conn_id: Airflow connection of type MySQL, with either of its clients.
    :param table: ``table`` or ``database.table``, taken literally (no quotes), or a view of this name.
    :param primary_key: one or several columns, unique and not null: whole numbers, texts, uuids or dates.
    :param cursor_field: the column that every change moves forward: a TIMESTAMP, a DATETIME, a DATE or a whole number. Rows where
        it is NULL are left out and counted; so are those with a zero date.
    :param columns: what to index besides the key; default: all columns.
    :param soft_delete_column: true, a number but 0, or any other value but ``f`` and ``false`` takes the row out of the index.
    :param row_filter: SQL condition on the row; where it is not true, the row is taken out of the index.
    :param group_by: a column of whole numbers, texts (told apart byte by byte), uuids or dates: a stream with groups has an index
        for each of its values. Rows where it is NULL are in none, and counted.
    :param group: the value of one group, as text: only its rows are in the index. ``Stream.of_group`` sets it.
    :param lag: how long after its stamp a change may stay invisible at most; used instead of the open transactions. A timedelta;
        for an integer cursor a number of values.
    :param margin: distance kept below the moment that the horizon is of; default two seconds.
    :param tombstones: read deletions from a table that triggers write deleted keys to, see :meth:`install_tombstones`. True for
        the table's own name with ``_tombstones`` after it, or another name, taken literally. Needs a table, and a cursor made of
        time.
    :param children: other tables that a document is made of, ``Child`` and ``Parent``. Each needs a cursor field of the same
        type and NOT NULL.
    :param cursor_timezone: the zone of the sessions that write a DATETIME or a DATE; must be stated for these.
    """

    FORMATS: ClassVar[tuple[Format, ...]] = (Format.PG_TEXT, Format.ROWS)

    @property
    def formats(self) -> tuple[Format, ...]:
        """Lines that the server writes are of one row each."""
        return (Format.ROWS,) if self.children else self.FORMATS

    def tombstone_ddl(self) -> str:
        """The statements of :meth:`install_tombstones`, to be run by hand by who may alter the table."""
        with self._tombstones() as found:
            return "\n".join(tombstones.ddl() for tombstones in found)

    def install_tombstones(self, *, conn_id: str | None = None) -> None:
        """Make the tombstones' table and two triggers on the source's table, and the same for each table of its children. Doing
        it again keeps what is recorded.

        Waits at most ten seconds for a table's lock, which waits for transactions that use it.

        :param conn_id: a connection of who may alter the table; default: the source's own.
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
        from airflow_reindex_provider.sources.mysql.connection import change

        with self.open() as session:
            return change(self, list(session.purging(below, keep)), conn_id)

    def count_tombstones(self, *, below: str, keep: Sequence[Key] = ()) -> int:
        """How many :meth:`purge_tombstones` would delete, asked over the source's own connection."""
        with self.open() as session:
            return session.purgeable(below, keep)

    def _execute(self, statements: Callable[[Tombstones], Sequence[str]], conn_id: str | None) -> None:
        from airflow_reindex_provider.sources.mysql.connection import change

        with self._tombstones() as found:
            said = [statement for tombstones in found for statement in statements(tombstones)]
        change(self, said, conn_id)

    @contextmanager
    def _tombstones(self) -> Iterator[Sequence[Tombstones]]:
        if not self.records_deletions:
            raise ConfigurationError(f"{self.label}: the source reads no tombstones. Give it tombstones=True.")
        with self.open() as session:
            yield session.tombstones()

    @contextmanager
    def open(self) -> Iterator[MySqlSourceSession]:
        from airflow_reindex_provider.sources.mysql.connection import connect
        from airflow_reindex_provider.sources.mysql.session import MySqlSourceSession

        with connect(self) as (asking, stop):
            yield MySqlSourceSession(self, asking, stop)
