"""Any SQL database as a source: a table or view, read some time after it was written, in the order of change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Format
from airflow_reindex_provider.sources.sql.definition import TableDefinition

if TYPE_CHECKING:
    from airflow_reindex_provider.sources.dbapi.session import SqlSourceSession


@dataclass(frozen=True, slots=True)
class SqlSource(TableDefinition):
    """A table or view in any database that Airflow has a ``DbApiHook`` for; SQLAlchemy writes the statements, so its dialect has
    to be installed, as the database's own provider does.

    Nobody tells of the open transactions of just any database, so there is **no horizon to be had**: ``lag`` says after how long
    no change can appear any more. The rows of a transaction that stays open for longer are skipped until a sweep finds them.

    :param conn_id: Airflow connection whose hook is a ``DbApiHook``.
    :param table: ``table`` or ``schema.table``, taken literally (no quotes), or a view of this name.
    :param primary_key: one or several columns, unique and not null: whole numbers, texts, uuids or dates.
    :param cursor_field: the column that every change moves forward. Rows where it is NULL are left out and counted.
    :param lag: how long after its stamp a change may stay invisible at most: longer than any transaction that writes the table,
        and than clocks differ. A timedelta; for an integer cursor a number of values.
    :param columns: what to index besides the key; default: all columns.
    :param soft_delete_column: true, a number but 0, or any other value but ``f`` and ``false`` takes the row out of the index.
    :param row_filter: SQL condition on the row, in the database's words; where it is not true, the row is taken out of the index.
    :param group_by: a column of whole numbers, texts (told apart byte by byte), uuids or dates: a stream with groups has an index
        for each of its values. Rows where it is NULL are in none, and counted.
    :param group: the value of one group, as text: only its rows are in the index. ``Stream.of_group`` sets it.
    :param cursor_timezone: the zone of local times in the cursor field (a type without a zone, a date); must be stated for these.
    """

    # A statement of it is what makes the source, so unlike in the definition there is none without.
    lag: timedelta | int = field(kw_only=True)

    formats: ClassVar[tuple[Format, ...]] = (Format.ROWS,)

    def __post_init__(self) -> None:
        # The class is made anew for its slots, so super() without arguments would not find it.
        TableDefinition.__post_init__(self)
        if self.lag is None:
            raise ConfigurationError(
                f"{self.label}: state lag, after how long no change can appear any more: there is no horizon to be had."
            )

    @contextmanager
    def open(self) -> Iterator[SqlSourceSession]:
        from airflow_reindex_provider.sources.dbapi.connection import connect
        from airflow_reindex_provider.sources.dbapi.session import SqlSourceSession

        with connect(self) as asking:
            yield SqlSourceSession(self, asking)
