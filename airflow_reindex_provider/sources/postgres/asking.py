"""Statements about a source, whose errors name it and the grant that it lacks."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import psycopg

from airflow_reindex_provider.databases.postgres.errors import explained
from airflow_reindex_provider.databases.postgres.names import identifier, quoted, render, split_name
from airflow_reindex_provider.databases.postgres.transactions import at_server
from airflow_reindex_provider.sources.postgres.definition import PostgresDefinition

_OF_READERS = {
    "25006": "A source reads in read-only transactions: take what writes or locks rows (FOR UPDATE, nextval, a function that"
    " writes) out of the query, the view or the row_filter."
}


def asking(source: PostgresDefinition, connection: psycopg.Connection[Any]) -> AbstractContextManager[None]:
    grant = _grant(source, at_server(connection).role)
    return explained(f"Source {source.label}", grant=grant, remedies=_OF_READERS)


def _grant(source: PostgresDefinition, user: str) -> str:
    if source.table is None:
        return "GRANT SELECT on what the query reads to the connection's role"
    schema, _ = split_name(source.table)
    role = quoted([user])
    usage = f"GRANT USAGE ON SCHEMA {quoted([schema])} TO {role}; " if schema else ""
    parts = [part for top in source.parts for part in top.walk()]
    named = (source.table, source.tombstone_table, *(name for part in parts for name in (part.table, part.losses)))
    tables = ", ".join(render(identifier(name)) for name in dict.fromkeys(named) if name)
    return f"{usage}GRANT SELECT ON {tables} TO {role};"
