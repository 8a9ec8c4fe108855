"""What a generation's table cannot be is said before it is made: names, full text, indexes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import psycopg
from psycopg import errors, sql

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.databases.postgres.sqlstates import Verdict, verdict_of
from airflow_reindex_provider.databases.postgres.types import IS_FIXED_TEXT
from airflow_reindex_provider.targets.postgres.definition import MAX_NAME_BYTES, FullText, PostgresIndexDefinition
from airflow_reindex_provider.targets.postgres.passages import DOCUMENT, LISTS
from airflow_reindex_provider.targets.postgres.statements import DELETED, VERSION

MAX_COLUMNS = 1_600

_SYSTEM_COLUMNS = "SELECT attname FROM pg_attribute WHERE attrelid = 'pg_class'::regclass AND attnum < 0"
_CONFIGS = "SELECT cfgname FROM pg_ts_config WHERE pg_ts_config_is_visible(oid) ORDER BY 1"
_TEXTS = f"""
SELECT a.attname, format_type(a.atttypid, a.atttypmod), {IS_FIXED_TEXT}
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
"""


def check_names(connection: psycopg.Connection[Any], target: PostgresIndexDefinition, names: Collection[str]) -> None:
    """:param names: of the source and those declared, without ours. :raises ConfigurationError: a table cannot have them."""
    rename = "Give it another name (in a query, with AS), or leave it out, with columns= of the source."
    own_columns = [VERSION, DELETED, *((DOCUMENT, *LISTS) if target.passages else ())]
    system = {name for (name,) in connection.execute(_SYSTEM_COLUMNS)}
    for name in names:
        if name in system:
            raise ConfigurationError(f"{target.label}: Postgres keeps the column name {name!r} for itself. {rename}")
        if name in own_columns:
            raise ConfigurationError(f"{target.label}: the index needs the column name {name!r} for itself. {rename}")
    added = own_columns
    if target.full_text:
        own = target.full_text.name
        if own in names:
            raise ConfigurationError(
                f"{target.label}: full_text is to be called {own!r}, and there is a column of this name already. Give it another"
                " one: FullText(..., name=...)."
            )
        added.append(own)
    for name in (*names, *added):
        if len(name.encode()) > MAX_NAME_BYTES:
            raise ConfigurationError(
                f"{target.label}: the column name {name!r} has more than the {MAX_NAME_BYTES} bytes that Postgres takes."
            )
    if len(names) + len(added) > MAX_COLUMNS:
        raise ConfigurationError(
            f"{target.label}: {len(names):,} columns and the {len(added)} that the index adds are more than the {MAX_COLUMNS:,}"
            " that a table can have. Name those that the index needs, with columns= of the source."
        )


_NOT_THE_DEFINITION = (errors.InsufficientPrivilege, errors.ConfigurationLimitExceeded)


def check_full_text(
    connection: psycopg.Connection[Any], target: PostgresIndexDefinition, table: sql.Identifier, full_text: FullText
) -> None:
    """:param table: as it is without the column. :raises ConfigurationError: that cannot be generated from its columns."""
    configs = [name for (name,) in connection.execute(_CONFIGS)]
    if full_text.config.rpartition(".")[2] not in configs:
        raise ConfigurationError(
            f"{target.label}: full_text has config={full_text.config!r}, which is no text search configuration of this database."
            f" It has: {', '.join(configs)}."
        )
    types = {name: (kind, fixed) for name, kind, fixed in connection.execute(_TEXTS, [table.as_string(None)])}
    for name in full_text.columns:
        if name not in types or name in (VERSION, DELETED):
            raise ConfigurationError(
                f"{target.label}: full_text names {name!r}, which is no column of the index. It has:"
                f" {', '.join(n for n in types if n not in (VERSION, DELETED))}."
            )
        kind, fixed = types[name]
        if not fixed:
            raise ConfigurationError(
                f"{target.label}: full_text names {name!r}, a column of type {kind}, whose text hangs on settings to Postgres, so"
                f" nothing can be generated from it. Have it as text in the index, columns={{{name!r}: 'text'}}, or let a"
                " transform fill a text column with its words."
            )


def try_indexes(
    connection: psycopg.Connection[Any],
    target: PostgresIndexDefinition,
    table: sql.Identifier,
    definitions: Collection[str],
) -> None:
    """On the table while it is empty, and without keeping them. :raises ConfigurationError: see :func:`build_index`."""
    for definition in definitions:
        with connection.transaction(force_rollback=True):
            build_index(connection, target, table, definition)


def build_index(
    connection: psycopg.Connection[Any], target: PostgresIndexDefinition, table: sql.Identifier, definition: str
) -> None:
    """:raises ConfigurationError: Postgres refuses the definition, or a document has a value that it cannot index."""
    try:
        connection.execute(sql.SQL("CREATE INDEX ON {} {}").format(table, sql.SQL(definition)))
    except psycopg.DatabaseError as error:
        if verdict_of(error) is Verdict.RETRY or isinstance(error, _NOT_THE_DEFINITION):
            raise
        raise ConfigurationError(
            f"{target.label}: indexes= has {definition!r}, with which Postgres cannot make an index:"
            f" {str(error).splitlines()[0].rstrip('.')}. It is what follows CREATE INDEX ON table, over columns of the index;"
            " mend it, or make what it needs (an extension, an operator class)."
        ) from error
