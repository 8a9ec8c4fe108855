"""The table of a generation: its columns and types, its key, and the indexes that wait for the end of the load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from airflow_reindex_provider.core.model import Schema
from airflow_reindex_provider.databases.postgres.types import has_one_text
from airflow_reindex_provider.targets.postgres.checks import check_full_text, check_names, try_indexes
from airflow_reindex_provider.targets.postgres.definition import FullText, PostgresIndexDefinition
from airflow_reindex_provider.targets.postgres.passages import (
    check_recipe,
    create_passages,
    default_index,
    row_columns,
)
from airflow_reindex_provider.targets.postgres.statements import DELETED, VERSION

_HELD = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), array_position(i.indkey::int2[], a.attnum),
       a.attgenerated <> '' OR a.attidentity <> '',
       (SELECT NOT c.collisdeterministic FROM pg_collation c WHERE c.oid = a.attcollation) IS TRUE
FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""


@dataclass(frozen=True, slots=True)
class Held:
    """What a table holds, as the catalogue says; nothing where there is no such table.

    :ivar columns: with their types. :ivar key: the primary key's, in its order. :ivar generated: those that nobody writes: the
        full text, whatever the target calls it by now, and the numbers of rows.
    :ivar loose: those whose equal values can have several texts: the table takes these for one key, and a sweep for several.
    """

    columns: Mapping[str, str]
    key: tuple[str, ...]
    generated: frozenset[str]
    loose: frozenset[str]


def create_table(
    connection: psycopg.Connection[Any],
    target: PostgresIndexDefinition,
    table: sql.Identifier,
    passages: sql.Identifier,
    schema: Schema,
) -> None:
    """Empty, with one column for each field, those that a transform fills, and ours; and the table of its passages, where the
    target has some.

    :raises ConfigurationError: such a table cannot be; names the column or the option."""
    check_names(connection, target, tuple(dict.fromkeys((*(f.name for f in schema.fields), *target.columns))))
    declared = dict(target.columns)
    columns = [
        sql.SQL("{} {}{}").format(
            sql.Identifier(f.name),
            sql.SQL(declared.pop(f.name, "") or _known_type(connection, f.type)),
            sql.SQL(" NOT NULL" if f.name in schema.primary_key else ""),
        )
        for f in schema.fields
    ]
    columns += [sql.SQL("{} {}").format(sql.Identifier(n), sql.SQL(kind)) for n, kind in declared.items()]
    columns.append(sql.SQL("{} bigint NOT NULL").format(sql.Identifier(VERSION)))
    columns.append(sql.SQL("{} boolean NOT NULL").format(sql.Identifier(DELETED)))
    if target.passages:
        names = dict.fromkeys((*(f.name for f in schema.fields), *target.columns))
        check_recipe(connection, target.passages, [*names], schema.primary_key, target.label)
        columns += row_columns()
    key = sql.SQL(", ").join(map(sql.Identifier, schema.primary_key))
    statement = sql.SQL("CREATE TABLE {} ({}, PRIMARY KEY ({}))")
    connection.execute(statement.format(table, sql.SQL(", ").join(columns), key))
    if target.full_text:
        check_full_text(connection, target, table, target.full_text)
        connection.execute(sql.SQL("ALTER TABLE {} ADD COLUMN {}").format(table, _full_text_column(target.full_text)))
    if target.passages:
        create_passages(connection, table, passages, target.passages)
        try_indexes(connection, target, passages, passage_index_definitions(target))
    # They are built when the load is complete, and that is late for finding out that they cannot be.
    try_indexes(connection, target, table, index_definitions(target))


def index_definitions(target: PostgresIndexDefinition) -> list[str]:
    """What follows ``CREATE INDEX ON table``."""
    own = list(target.indexes)
    if target.full_text:
        own.append(sql.SQL("USING gin ({})").format(sql.Identifier(target.full_text.name)).as_string(None))
    return own


def passage_index_definitions(target: PostgresIndexDefinition) -> list[str]:
    """As :func:`index_definitions`, of the table of passages."""
    if target.passages is None:
        return []
    own = target.passage_indexes
    return [default_index(target.passages.dimensions)] if own is None else list(own)


def held_by(connection: psycopg.Connection[Any], table: sql.Identifier) -> Held:
    rows = connection.execute(_HELD, [table.as_string(None)]).fetchall()
    key = sorted((place, name) for name, _, place, _, _ in rows if place is not None)
    return Held(
        columns={name: kind for name, kind, *_ in rows},
        key=tuple(name for _, name in key),
        generated=frozenset(name for name, _, _, generated, _ in rows if generated),
        loose=frozenset(name for name, kind, _, _, ignores in rows if ignores or not has_one_text(kind)),
    )


def _known_type(connection: psycopg.Connection[Any], name: str) -> str:
    """An extension's type where this server has the extension, text where it has not."""
    base = name.partition("(")[0]
    row = connection.execute("SELECT to_regtype(%s) IS NOT NULL", [base]).fetchone()
    return name if row and row[0] else "text"


def _full_text_column(full_text: FullText) -> sql.Composed:
    texts = sql.SQL(" || ' ' || ").join(
        sql.SQL("coalesce({}::text, '')").format(sql.Identifier(name)) for name in full_text.columns
    )
    return sql.SQL("{} tsvector GENERATED ALWAYS AS (to_tsvector({}::regconfig, {})) STORED").format(
        sql.Identifier(full_text.name), sql.Literal(full_text.config), texts
    )
