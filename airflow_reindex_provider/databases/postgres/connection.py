"""Sessions of Postgres from an Airflow connection, whose transactions begin with our settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.databases.postgres.errors import explained
from airflow_reindex_provider.databases.postgres.settings import REFUSED, opening

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

    from airflow_reindex_provider.databases.postgres.refusals import unknown, unopened
    from airflow_reindex_provider.databases.postgres.transactions import settle

    try:
        connection = PostgresHook(postgres_conn_id=conn_id).get_conn()
    except AirflowNotFoundException as error:
        raise unknown(conn_id, owner) from error
    except Exception as error:
        # The hook's own errors too, as those of its token services: none comes without the connection's name.
        raise unopened(error, conn_id, owner) from error
    if not isinstance(connection, psycopg.Connection):
        connection.close()
        raise ConfigurationError(
            "The Postgres provider's hook gave a psycopg2 connection; this package needs psycopg 3:"
            " pip install 'psycopg[binary]'."
        )
    try:
        # The Airflow connection may ask for dictionaries (extra "cursor"); our statements read columns by place.
        connection.row_factory = tuple_row
        with explained(owner, grant="mend the role of the connection"):
            settle(connection, opening(tag, read_only=read_only))
            _refuse_settings(connection, owner)
        yield connection
    finally:
        connection.close()


def _refuse_settings(connection: psycopg.Connection[Any], owner: str) -> None:
    """:raises ConfigurationError: the session has a setting with which rows would be missing, and which we cannot change."""
    from airflow_reindex_provider.databases.postgres.transactions import at_server, transaction

    with transaction(connection):
        found = at_server(connection).refusable
    for (name, wrong), value in zip(REFUSED.items(), found, strict=True):
        if value == wrong:
            raise ConfigurationError(
                f"{owner}: its sessions have {name} = {value}, with which damaged rows would be missing or wrong without a"
                f" word: ALTER ROLE ... RESET {name}, ALTER DATABASE ... RESET {name}, or take it out of the connection's extra."
            )
