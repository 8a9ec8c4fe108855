"""Sessions of Postgres from an Airflow connection, whose transactions begin with our settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.core.errors import ConfigurationError, ReindexError, TransientError
from airflow_reindex_provider.databases.postgres.settings import opening

if TYPE_CHECKING:
    import psycopg


@contextmanager
def connect(conn_id: str, *, owner: str, tag: str, read_only: bool = False) -> Iterator[psycopg.Connection[Any]]:
    """A psycopg 3 connection in autocommit from the official provider's hook; what it executes is settled by ``settings``.

    Transactions are begun with ``databases.postgres.transactions``, so that it may lead through a pool.

    :param owner: what needs it, for error messages (``stream 'products'``). :param tag: its ``application_name``.
    :raises ConfigurationError: no such connection, or its credentials or database are wrong.
    :raises TransientError: the server does not answer.
    """
    import psycopg
    from airflow.providers.postgres.hooks.postgres import PostgresHook
    from airflow.sdk.exceptions import AirflowNotFoundException
    from psycopg.rows import tuple_row

    from airflow_reindex_provider.databases.postgres.transactions import settle

    try:
        connection = PostgresHook(postgres_conn_id=conn_id).get_conn()
    except AirflowNotFoundException as error:
        raise ConfigurationError(
            f"{owner} uses the connection {conn_id!r}, which does not exist: add a Postgres connection with this id"
            f" (Admin > Connections, `airflow connections add {conn_id}`, or AIRFLOW_CONN_{conn_id.upper()})."
        ) from error
    except psycopg.OperationalError as error:
        raise _connect_error(error, conn_id, owner) from error
    if not isinstance(connection, psycopg.Connection):
        connection.close()
        raise ConfigurationError(
            "The Postgres provider's hook gave a psycopg2 connection; this package needs psycopg 3:"
            " pip install 'psycopg[binary]'."
        )
    try:
        # The Airflow connection may ask for dictionaries (extra "cursor"); our statements read columns by place.
        connection.row_factory = tuple_row
        settle(connection, opening(tag, read_only=read_only))
        yield connection
    finally:
        connection.close()


def _connect_error(error: Exception, conn_id: str, owner: str) -> ReindexError:
    text = str(error).strip()
    if any(sign in text for sign in ("authentication failed", "does not exist", "no password supplied", "pg_hba.conf")):
        return ConfigurationError(f"{owner}: the connection {conn_id!r} is refused: {text}. Mend the connection.")
    return TransientError(f"{owner}: the connection {conn_id!r} does not answer: {text}")
