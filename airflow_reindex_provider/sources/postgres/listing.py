"""The keys of a Postgres source, for a sweep and for the swap of a rebuild."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql

from airflow_reindex_provider.core.keys import key_kinds
from airflow_reindex_provider.core.model import Key, Schema
from airflow_reindex_provider.databases.postgres.listing import PAGE_ROWS, Asked, KeyColumn, KeyList
from airflow_reindex_provider.databases.postgres.types import converted, is_binary_safe, portable_type
from airflow_reindex_provider.sources.postgres.sql import Relation

_LENGTH = re.compile(r"\(\d+(,-?\d+)?\)")


def key_list(relation: Relation, schema: Schema, *, below: str) -> KeyList:
    """:param below: cursor value; the versions of rows at or above it, or without one, are not told."""
    types = (schema.field(name).type for name in schema.primary_key)
    columns = zip(relation.key, key_kinds(schema), types, strict=True)
    return KeyList(
        body=relation.body,
        columns=tuple(KeyColumn.of(column, kind, type) for column, kind, type in columns),
        version=relation.version,
        gone=relation.deleted,
        below=sql.SQL("{} < {}::{}").format(relation.latest, sql.Literal(below), relation.cursor_type),
    )


def contents(relation: Relation, schema: Schema, columns: Mapping[str, str]) -> tuple[sql.Composable, ...] | None:
    """The columns as the types of an index would have their values; None where one of these is not to be had here.

    Values take the way that they take to the index: cast for the wire, then to the column there.
    """
    found: list[sql.Composable] = []
    for name, held in columns.items():
        field = schema.field(name)
        value = sql.SQL("{}::{}").format(sql.Identifier("r", name), sql.SQL(field.wire_type))
        if is_binary_safe(portable_type(_LENGTH.sub("", held))):
            value = converted(value, field.wire_type, held)
        elif held != field.type:
            return None
        found.append(value)
    return tuple(found)


def same_keys(relation: Relation, keys: Sequence[Key]) -> Asked:
    """The keys to look up, compared by the columns' own idea of what is equal."""
    names = [sql.Identifier("asked", f"k{n}") for n in range(len(relation.key))]
    lists = (sql.Literal([key[n] for key in keys]) + sql.SQL("::text[]") for n in range(len(names)))
    equal = (
        sql.SQL("{} = {}::{}").format(column, name, kind)
        for column, name, kind in zip(relation.key, names, relation.key_types, strict=True)
    )
    return Asked(
        tuple(names),
        sql.SQL("unnest({}) AS asked ({})").format(
            sql.SQL(", ").join(lists), sql.SQL(", ").join(sql.Identifier(f"k{n}") for n in range(len(names)))
        ),
        sql.SQL(" AND ").join(equal),
    )


def still_keys(connection: psycopg.Connection[Any], relation: Relation, keys: Sequence[Key]) -> tuple[Key, ...]:
    """Those whose texts are values of their columns. A column's type may have been altered since they were written down, or an
    enum's value renamed; then no row has the key any more."""
    if not keys:
        return ()
    lists = (sql.Literal([key[n] for key in keys]) + sql.SQL("::text[]") for n in range(len(relation.key)))
    names = [sql.Identifier(f"k{n}") for n in range(len(relation.key))]
    statement = sql.SQL("SELECT {} FROM unnest({}) AS asked ({})").format(
        sql.SQL(", ").join(
            sql.SQL("count({}::{})").format(name, kind) for name, kind in zip(names, relation.key_types, strict=True)
        ),
        sql.SQL(", ").join(lists),
        sql.SQL(", ").join(names),
    )
    try:
        connection.execute(statement)
    except psycopg.DataError:
        if len(keys) == 1:
            return ()
        half = len(keys) // 2
        return (
            *still_keys(connection, relation, keys[:half]),
            *still_keys(connection, relation, keys[half:]),
        )
    return tuple(keys)


def keys_where(
    connection: psycopg.Connection[Any], relation: Relation, condition: sql.Composable
) -> Iterator[list[Key]]:
    """Pages of the keys of rows that meet the condition: one COPY, so one snapshot."""
    page: list[Key] = []
    with connection.cursor() as reading, reading.copy(relation.keys_where(condition)) as copy:
        for row in copy.rows():
            page.append(row)
            if len(page) == PAGE_ROWS:
                yield page
                page = []
    if page:
        yield page
