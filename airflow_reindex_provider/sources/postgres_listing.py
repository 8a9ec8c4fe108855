"""The keys of a Postgres source, for a sweep."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from airflow_reindex_provider.common.postgres_listing import KeyColumn, KeyList
from airflow_reindex_provider.core.keys import key_kinds
from airflow_reindex_provider.core.model import Key, Schema
from airflow_reindex_provider.sources.postgres_sql import Relation


def key_list(relation: Relation, schema: Schema, *, below: str) -> KeyList:
    """:param below: cursor value; the versions of rows at or above it, or without one, are not told."""
    types = (schema.field(name).type for name in schema.primary_key)
    columns = zip(relation.key, key_kinds(schema), types, strict=True)
    return KeyList(
        body=relation.body,
        columns=tuple(KeyColumn.of(column, kind, type) for column, kind, type in columns),
        version=relation.version,
        gone=relation.deleted,
        below=sql.SQL("{} < {}::{}").format(relation.cursor, sql.Literal(below), relation.cursor_type),
    )


def among(relation: Relation, keys: Sequence[Key]) -> sql.Composed:
    """The keys as a condition, by the columns' own idea of what is equal."""
    rows = [
        sql.SQL(", ").join(
            sql.Literal(part) + sql.SQL("::") + kind for part, kind in zip(key, relation.key_types, strict=True)
        )
        for key in keys
    ]
    return sql.SQL("({}) IN ({})").format(
        sql.SQL(", ").join(relation.key), sql.SQL(", ").join(sql.SQL("({})").format(row) for row in rows)
    )
