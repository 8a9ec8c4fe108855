"""What the Postgres source, target and checkpoint table share: connections, names, types and errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.core.errors import ConfigurationError, ReindexError, TransientError

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

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

BINARY_SAFE_TYPES = frozenset(
    {
        *("boolean", "smallint", "integer", "bigint", "real", "double precision", "numeric"),
        *("text", "bytea", "uuid", "json", "jsonb", "tsvector", "bit varying", "inet", "cidr", "macaddr", "macaddr8"),
        *("date", "time without time zone", "time with time zone", "interval"),
        *("timestamp without time zone", "timestamp with time zone"),
        *("point", "int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange"),
    }
)
"""Built-in types whose binary form is the same on every supported server; all others travel as text."""

_AS_TEXT = {"character varying": "text", "character": "text", "name": "text", "bit": "bit varying"}

_WIDENINGS = {
    "smallint": {"integer", "bigint", "numeric", "real", "double precision"},
    "integer": {"bigint", "numeric", "double precision"},
    "bigint": {"numeric"},
    "real": {"double precision"},
    "json": {"jsonb"},
    "cidr": {"inet"},
}


def portable_type(name: str) -> str:
    """The type without what limits it (a length), so that a longer value at the source later still fits."""
    element, brackets = (name[:-2], "[]") if name.endswith("[]") else (name, "")
    return _AS_TEXT.get(element, element) + brackets


def is_binary_safe(name: str) -> bool:
    return name.removesuffix("[]") in BINARY_SAFE_TYPES


def fits(source_type: str, target_type: str) -> bool:
    """Whether every value of the one has the same value in the other. Text holds all."""
    if source_type == target_type or target_type == "text":
        return True
    if source_type.endswith("[]") and target_type.endswith("[]"):
        return fits(source_type[:-2], target_type[:-2])
    return target_type in _WIDENINGS.get(source_type, ())


def converted(value: sql.Composable, type: str, to: str) -> sql.Composed:
    """The value of one type as another. A real goes by the digits that it shows, as it does in rows."""
    from psycopg import sql

    by_text = "::text" if type.removesuffix("[]") == "real" else ""
    return sql.SQL("({})" + by_text + "::{}").format(value, sql.SQL(to)) if type != to else sql.Composed([value])


def split_name(name: str) -> tuple[str | None, str]:
    """``schema.table`` or ``table``, taken literally: case counts, and no quotes are needed.

    :raises ConfigurationError: neither of the two.
    """
    parts = name.split(".")
    if len(parts) > 2 or not all(parts):
        raise ConfigurationError(f"{name!r} is not a table name: write schema.table, or table alone, without quotes.")
    return (parts[0], parts[1]) if len(parts) == 2 else (None, parts[0])


def identifier(name: str) -> sql.Identifier:
    from psycopg import sql

    schema, table = split_name(name)
    return sql.Identifier(schema, table) if schema else sql.Identifier(table)


def render(statement: sql.Composable) -> str:
    return statement.as_string(None)


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


@contextmanager
def explained(owner: str, *, grant: str) -> Iterator[None]:
    """Turn the driver's errors into ours: what a person must mend, or what a retry may get over.

    :param owner: object that the statement was about, connection included.
    :param grant: the statement that mends a missing privilege.
    """
    import psycopg
    from psycopg import errors

    try:
        yield
    except errors.InsufficientPrivilege as error:
        hint = grant
        if "row-level security" in str(error):
            hint = "ALTER ROLE ... BYPASSRLS, or read a view without policies; rows must not be hidden from the source"
        raise ConfigurationError(f"{owner}: {_first_line(error)}. Remedy: {hint}") from error
    except (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedObject, errors.InvalidSchemaName) as error:
        raise ConfigurationError(
            f"{owner}: {_first_line(error)}. Mend the stream, or bring the object back."
        ) from error
    except psycopg.OperationalError as error:
        raise TransientError(f"{owner}: {_first_line(error)}") from error
    except (psycopg.ProgrammingError, psycopg.DataError, psycopg.IntegrityError, psycopg.NotSupportedError) as error:
        raise ConfigurationError(f"{owner}: {_first_line(error)}") from error
    except psycopg.Error as error:
        raise TransientError(f"{owner}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
