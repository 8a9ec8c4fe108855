"""The driver's errors as ours: what a person must mend, or what a retry may get over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from airflow_reindex_provider.core.errors import ConfigurationError, TransientError

_NO_OTHERS: Mapping[str, str] = {}


@contextmanager
def explained(owner: str, *, grant: str, remedies: Mapping[str, str] = _NO_OTHERS) -> Iterator[None]:
    """Turn the driver's errors into ours: what a person must mend, or what a retry may get over.

    :param owner: object that the statement was about, connection included.
    :param grant: the statement that mends a missing privilege. :param remedies: by SQLSTATE, instead of those of the list.
    """
    import psycopg

    from airflow_reindex_provider.databases.postgres.sqlstates import BAD_ENCODING, Verdict, remedy_of, verdict_of

    try:
        yield
    except psycopg.Error as error:
        remedy = remedies.get(error.sqlstate or "") or remedy_of(error, grant=grant)
        text = f"{owner}: {_first_line(error)}." + (f" Remedy: {remedy}" if remedy else "")
        raise (TransientError if verdict_of(error) is Verdict.RETRY else ConfigurationError)(text) from error
    except UnicodeDecodeError as error:
        text = f"{owner}: {error.reason} {error.object[error.start]:#x} in what should be {error.encoding}."
        raise ConfigurationError(f"{text} Remedy: {BAD_ENCODING}") from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
