"""An Airflow connection's hook, and SQLAlchemy's errors as ours."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import TypeVar

import sqlalchemy as sa

from airflow_reindex_provider.core.errors import ConfigurationError, ReindexError, TransientError
from airflow_reindex_provider.sources.sql.definition import TableDefinition

H = TypeVar("H")


def hook_of(source: TableDefinition, kind: type[H]) -> H:
    """:raises ConfigurationError: no such connection, or its hook is of another kind."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        hook = BaseHook.get_hook(source.conn_id)
    except AirflowNotFoundException as error:
        raise ConfigurationError(
            f"Source {source.label} uses the connection {source.conn_id!r}, which does not exist: add one with this id (Admin >"
            f" Connections, `airflow connections add {source.conn_id}`, or AIRFLOW_CONN_{source.conn_id.upper()})."
        ) from error
    except Exception as error:
        # A provider that is not installed, an extra that its hook cannot read.
        raise ConfigurationError(f"Source {source.label}: no hook for its connection: {error}") from error
    if not isinstance(hook, kind):
        raise ConfigurationError(
            f"Source {source.label}: the hook of connection {source.conn_id!r} is {type(hook).__name__}, which is no"
            f" {kind.__name__}."
        )
    return hook


@contextmanager
def explaining(label: str, *, passing: Container[object] = ()) -> Iterator[None]:
    """SQLAlchemy's errors as ours: what a person must mend, or what a retry may get over.

    :param passing: numbers of errors of the second kind that the driver takes for ones of the first."""
    try:
        yield
    except ReindexError:
        raise
    except sa.exc.DBAPIError as error:
        text = f"Source {label}: {' '.join(str(error.orig).split())}."
        passes = error.connection_invalidated or isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError))
        said = error.orig.args if error.orig is not None else ()
        passes = passes or (bool(said) and said[0] in passing)
        # SQLite has one class for a table that is not there and one that is locked.
        if "no such " in str(error.orig) or "syntax error" in str(error.orig):
            passes = False
        raise (TransientError if passes else ConfigurationError)(text) from error
    except sa.exc.NoSuchTableError as error:
        raise ConfigurationError(f"Source {label}: there is no such table or view.") from error
