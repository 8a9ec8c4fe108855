"""The lines of a search engine's ``_bulk`` body (``core.bulk``), written by Postgres itself: the worker only forwards bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from psycopg import sql

from airflow_reindex_provider.core.bulk import VERSION_TYPE, is_vector
from airflow_reindex_provider.core.model import Batch, Chunk, Format, Schema, Window
from airflow_reindex_provider.sources.postgres.reading import copy_out

if TYPE_CHECKING:
    import psycopg

    from airflow_reindex_provider.sources.postgres.sql import Relation

_BASE64 = sql.SQL(r"translate(encode({}, 'base64'), E'\n', '')")


def bulk_chunks(
    connection: psycopg.Connection[Any],
    relation: Relation,
    schema: Schema,
    batch: Batch,
    fields: Sequence[str],
    windows: Sequence[Window],
) -> Iterator[Chunk]:
    """One COPY a window, each a chunk. A chunk's payload must be used up before the next one is asked for."""
    line = _line(relation, schema, fields)
    for window in windows:
        condition = relation.of_keys(batch.keys, window) if batch.keys else relation.within(window)
        # Binary COPY is the one form that does not escape what it carries.
        statement = sql.SQL("COPY (SELECT {} FROM {} WHERE {} ORDER BY {}) TO STDOUT (FORMAT binary)").format(
            line, relation.body, condition, sql.SQL(", ").join((relation.cursor, *relation.key))
        )
        yield Chunk(window.end, Format.BULK, copy_out(connection, statement, texts=True))


def _line(relation: Relation, schema: Schema, fields: Sequence[str]) -> sql.Composed:
    parts = [sql.SQL("{}::text").format(k) for k in relation.key]
    if len(parts) > 1:
        parts = [sql.SQL(r"replace(replace({}, '\', '\\'), '|', '\|')").format(part) for part in parts]
    action = sql.SQL("{} || ',\"version\":' || greatest({}, 0) || {}").format(
        sql.SQL("to_json({})").format(sql.SQL(" || '|' || ").join(parts)),
        relation.version,
        sql.Literal(f',"version_type":"{VERSION_TYPE}"}}}}\n'),
    )
    values = sql.SQL(", ").join(
        sql.SQL("{} AS {}").format(_json_value(sql.Identifier("r", name), relation.wire_types[name], schema, name), n)
        for name, n in ((name, sql.Identifier(name)) for name in fields)
    )
    # A column of this name would be taken for the row.
    row = sql.Identifier(next(name for name in map("d{}".format, range(len(fields) + 1)) if name not in fields))
    document = sql.SQL("row_to_json((SELECT {row} FROM (SELECT {}) AS {row}))").format(values, row=row)
    return sql.SQL("CASE WHEN ({}) THEN {} || {} ELSE {} || {} || {} || {} END").format(
        relation.deleted,
        sql.Literal('{"delete":{"_id":'),
        action,
        sql.Literal('{"index":{"_id":'),
        action,
        document,
        sql.Literal("\n"),
    )


def _json_value(column: sql.Composable, wire_type: str, schema: Schema, name: str) -> sql.Composed:
    """The column as something that ``row_to_json`` writes as it should."""
    if wire_type in ("json", "json[]"):
        # Line breaks between JSON's parts are white space; within its strings they are escaped.
        return sql.SQL(r"translate(to_json({})::text, E'\n\r', '  ')::json").format(column)
    if wire_type == "bytea":
        return _BASE64.format(column)
    if wire_type == "bytea[]":
        elements = sql.SQL("ARRAY(SELECT {} FROM unnest({}) WITH ORDINALITY AS u(b, n) ORDER BY n)").format(
            _BASE64.format(sql.SQL("b")), column
        )
        return sql.SQL("CASE WHEN {} IS NOT NULL THEN {} END").format(column, elements)
    if is_vector(schema.field(name).type):
        return sql.SQL("{}::text::json").format(column)
    return sql.SQL("{}::{}").format(column, sql.SQL(wire_type))
