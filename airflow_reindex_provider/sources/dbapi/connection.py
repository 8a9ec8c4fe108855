"""A connection of SQLAlchemy from an Airflow connection's own hook."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import sqlalchemy as sa

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.sources.sql.asking import Asking
from airflow_reindex_provider.sources.sql.definition import TableDefinition
from airflow_reindex_provider.sources.sql.dialects import SESSION_SETTINGS
from airflow_reindex_provider.sources.sql.explaining import explaining, hook_of


@contextmanager
def connect(source: TableDefinition) -> Iterator[Asking]:
    """:raises ConfigurationError: no such connection, or not of a database; :raises TransientError: it does not answer."""
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    explained = partial(explaining, source.label)
    hook = hook_of(source, DbApiHook)
    try:
        engine = hook.get_sqlalchemy_engine()
    except Exception as error:
        # The hook's own errors, and those of a dialect that is not installed.
        raise ConfigurationError(
            f"Source {source.label}: SQLAlchemy cannot speak to connection {source.conn_id!r}: {error}. Install its dialect."
        ) from error
    try:
        with explained(), engine.connect() as connection:
            for setting in SESSION_SETTINGS.get(connection.dialect.name, ()):
                connection.execute(sa.text(setting))
            connection.commit()
            yield Asking(connection, explained)
    finally:
        engine.dispose()
