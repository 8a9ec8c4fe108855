"""Sessions of Postgres from an Airflow connection, with settled output formats."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.core.errors import ConfigurationError, ReindexError, TransientError

if TYPE_CHECKING:
    import psycopg


READER_TAG = "airflow_reindex_reader"
"""``application_name`` of our readers: they are read only, so the horizon leaves their transactions out."""


WRITER_TAG = "airflow_reindex_writer"


_SESSION_SETTINGS = {
    # Whatever the role or the database sets, the same value must always become the same text or bytes.
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
}


_READER_SETTINGS = {
    "default_transaction_read_only": "on",
    # A row-level policy would hide rows in silence; with this, Postgres raises an error instead.
    "row_security": "off",
}


@contextmanager
def connect(conn_id: str, *, owner: str, tag: str, read_only: bool = False) -> Iterator[psycopg.Connection[Any]]:
    """A psycopg 3 connection in autocommit from the official provider's hook, with settled output formats.

    :param owner: what needs it, for error messages (``stream 'products'``).
    :raises ConfigurationError: no such connection, or its credentials or database are wrong.
    :raises TransientError: the server does not answer.
    """
    import psycopg
    from airflow.providers.postgres.hooks.postgres import PostgresHook
    from airflow.sdk.exceptions import AirflowNotFoundException
    from psycopg.rows import tuple_row

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
        connection.autocommit = True
        # The Airflow connection may ask for dictionaries (extra "cursor"); our statements read columns by place.
        connection.row_factory = tuple_row
        settings = {**_SESSION_SETTINGS, **(_READER_SETTINGS if read_only else {}), "application_name": tag}
        calls = ", ".join(["set_config(%s, %s, false)"] * len(settings))
        connection.execute(f"SELECT {calls}", [word for item in settings.items() for word in item])
        yield connection
    finally:
        connection.close()


def _connect_error(error: Exception, conn_id: str, owner: str) -> ReindexError:
    text = str(error).strip()
    if any(sign in text for sign in ("authentication failed", "does not exist", "no password supplied", "pg_hba.conf")):
        return ConfigurationError(f"{owner}: the connection {conn_id!r} is refused: {text}. Mend the connection.")
    return TransientError(f"{owner}: the connection {conn_id!r} does not answer: {text}")
