"""The lines of a search engine's ``_bulk`` body (``core.bulk``), written by Postgres itself: the worker only forwards bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from psycopg import sql

from airflow_reindex_provider.core.bulk import VERSION_TYPE, is_vector
from airflow_reindex_provider.core.model import Schema

if TYPE_CHECKING:
    from airflow_reindex_provider.sources.postgres.sql import Relation

_BASE64 = sql.SQL(r"translate(encode({}, 'base64'), E'\n', '')")


def bulk_line(relation: Relation, schema: Schema, fields: Sequence[str]) -> sql.Composed:
    """Of a row, with its newlines."""
    action = sql.SQL("{} || ',\"version\":' || greatest({}, 0) || {}").format(
        sql.SQL("to_json({})").format(relation.document_id()),
        relation.version,
        sql.Literal(f',"version_type":"{VERSION_TYPE}"}}}}\n'),
    )

    def value(name: str) -> sql.Composable:
        column = sql.Identifier("r", name)
        return column if name in relation.composed else json_value(column, relation.wire_types[name], schema, name)

    values = sql.SQL(", ").join(sql.SQL("{} AS {}").format(value(name), sql.Identifier(name)) for name in fields)
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


def json_value(column: sql.Composable, wire_type: str, schema: Schema, name: str) -> sql.Composed:
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


def object_value(column: sql.Composable, wire_type: str, schema: Schema, name: str) -> sql.Composed:
    """The same in an object of a document. What this becomes is a jsonb somewhere, which takes not every json."""
    if wire_type in ("json", "json[]"):
        return sql.SQL("to_jsonb({})").format(column)
    return json_value(column, wire_type, schema, name)
