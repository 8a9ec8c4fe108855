"""A small table of ours in somebody's database, made on first use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.databases.postgres.connection import connect
from airflow_reindex_provider.databases.postgres.errors import explained
from airflow_reindex_provider.databases.postgres.names import identifier, render, split_name
from airflow_reindex_provider.databases.postgres.settings import WRITER_TAG

if TYPE_CHECKING:
    import psycopg

_STATE = """SELECT t IS NOT NULL, ARRAY(
    SELECT p FROM unnest(%(privileges)s::text[]) p WHERE NOT has_table_privilege(t, p)
)
FROM to_regclass(%(table)s) t"""


@dataclass(frozen=True)
class OwnTable:
    """:ivar table: ``schema.table``, or ``table`` on the role's search path; taken literally, no quotes. :ivar owner: how
    messages name who keeps it. :ivar what: it is, in a word or two. :ivar create: the statement, with ``{table}``.
    :ivar privileges: that are needed on it."""

    conn_id: str
    table: str
    owner: str
    what: str
    create: str
    privileges: Sequence[str]

    @contextmanager
    def cursor(self) -> Iterator[psycopg.Cursor[Any]]:
        """In autocommit, once the table is known to be there and ours to use.

        :raises ConfigurationError: the connection, a grant or the schema is missing, or the table is another one."""
        from psycopg.rows import tuple_row

        from airflow_reindex_provider.databases.postgres.transactions import at_server

        with connect(self.conn_id, owner=self.owner, tag=WRITER_TAG) as connection:
            cursor = connection.cursor(row_factory=tuple_row)
            server = at_server(connection)
            schema = split_name(self.table)[0] or server.schema or "public"
            with self.explained(_grant("USAGE, CREATE", "SCHEMA {}", schema, server.role)):
                self._prepare(cursor, server.role)
                yield cursor

    @contextmanager
    def explained(self, grant: str) -> Iterator[None]:
        """The driver's errors as ours. :param grant: the statement that mends a missing privilege."""
        from psycopg import errors

        with explained(self.owner, grant=grant):
            try:
                yield
            except errors.UndefinedColumn as error:
                raise ConfigurationError(
                    f"{self.owner}: the table exists, but is no {self.what} ({error.diag.message_primary})."
                    " Name another one with table=."
                ) from error

    def state(self) -> str:
        """For people: whether the table is there and ours to use; else, that it can be made.

        :raises ConfigurationError: neither."""
        from airflow_reindex_provider.databases.postgres.transactions import at_server

        with connect(self.conn_id, owner=self.owner, tag=WRITER_TAG) as connection, explained(self.owner, grant=""):
            server = at_server(connection)
            if self._is_ours(connection.cursor(), server.role):
                return f"{self.owner}: role {server.role!r} may use the table."
            schema = split_name(self.table)[0] or server.schema or "public"
            row = connection.execute(
                "SELECT has_schema_privilege(%(s)s, 'USAGE') AND has_schema_privilege(%(s)s, 'CREATE')", {"s": schema}
            ).fetchone()
        if row != (True,):
            raise ConfigurationError(
                f"{self.owner}: there is no such table, and the role {server.role!r} may not make it. Remedy: "
                + _grant("USAGE, CREATE", "SCHEMA {}", schema, server.role)
            )
        return f"{self.owner}: the first run makes the table."

    def sql(self, text: str) -> Any:
        from psycopg import sql

        return sql.SQL(text).format(table=identifier(self.table))

    def _prepare(self, cursor: psycopg.Cursor[Any], role: str) -> None:
        from psycopg import errors

        if not self._is_ours(cursor, role):
            # CREATE TABLE IF NOT EXISTS fails where another session makes the same table at the same moment.
            with suppress(errors.UniqueViolation, errors.DuplicateTable, errors.DuplicateObject):
                cursor.execute(self.sql(self.create))

    def _is_ours(self, cursor: psycopg.Cursor[Any], role: str) -> bool:
        """False where there is no table yet. All privileges are asked for at once, so that a run fails before it has indexed
        anything.

        :raises ConfigurationError: some are missing."""
        asked = {"table": render(identifier(self.table)), "privileges": list(self.privileges)}
        exists, lacking = cursor.execute(_STATE, asked).fetchone() or (False, [])
        if lacking:
            raise ConfigurationError(
                f"{self.owner}: the role {role!r} may not use the table. Remedy: "
                + _grant(", ".join(lacking), "TABLE {}", self.table, role)
            )
        return bool(exists)


def _grant(privileges: str, on: str, name: str, role: str) -> str:
    from psycopg import sql

    return f"GRANT {privileges} ON {on.format(render(identifier(name)))} TO {render(sql.Identifier(role))};"


@dataclass(frozen=True)
class InOwnTable:
    """What is kept in such a table. The classes that a Dag file names document the fields."""

    conn_id: str
    table: str

    what: ClassVar[str]
    """What it is, in a word or two."""
    create: ClassVar[str]
    privileges: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        split_name(self.table)

    @property
    def label(self) -> str:
        return f"{type(self).__name__}({self.conn_id!r}, table={self.table!r})"

    @property
    def _own(self) -> OwnTable:
        return OwnTable(
            self.conn_id, self.table, owner=self.label, what=self.what, create=self.create, privileges=self.privileges
        )
