"""The driver's errors as ours: what a person must mend, or what a retry may get over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_reindex_provider.core.errors import ConfigurationError, TransientError


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
