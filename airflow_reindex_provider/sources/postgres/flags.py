"""Soft-delete columns that are no booleans: whether having a value can mean what the stream says that it means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from airflow_reindex_provider.sources.postgres.asking import asking
from airflow_reindex_provider.sources.postgres.description import Description
from airflow_reindex_provider.sources.postgres.sql import Relation

LOOKED_AT = 1000
"""Rows: a flag shows in the first ones, or it is none."""
NO = r"""(?x) ^ \s* (
    | n | no | off | f | false | none | null | nil | nan | \{\} | \[\] | \(\) | empty
    | [^\w\s.,+-]? [+-]? 0+ ([.,:-] 0+)* \s* [^\w\s]?
    | -? infinity | (9999 | 0001 | 1900 | 1970) -01-01 .* | 9999-12-31 .*
) \s* $"""
"""Values that say no, in small letters: words, what is empty, naughts of all kinds (``0.00``, ``$0.00``, ``00:00:00``), and times
that stand for never. Of these, ``f`` and ``false`` as they stand are taken for what they say."""


_NUMBERS = ("smallint", "integer", "bigint", "numeric", "real", "double precision")
_WORDS = ("text", "character varying", "character", '"char"')
KNOWN = {**dict.fromkeys(_NUMBERS, "0"), **dict.fromkeys(_WORDS, "'N'")}
"""How no is written by those who have such a flag."""


def doubts(description: Description, relation: Relation, connection: psycopg.Connection[Any]) -> Iterator[str]:
    """What should be said of the soft-delete column: every row, or one that is not meant, would leave the index."""
    source = description.definition
    column = next((c for c in description.columns if c.name == source.soft_delete_column), None)
    if column is None or column.own_type == "boolean":
        return
    said = (
        f"{source.label}: soft_delete_column {column.name!r} is a {column.declared}, and a row counts as deleted when it has any"
        " value but f or false"
    )
    remedy = "Leave soft_delete_column out, and say which rows to keep with row_filter, such as"
    if column.not_null:
        yield f"{said}. It is NOT NULL, so every row may. {remedy} {_filter(column.name, column.own_type)!r}."
        return
    shown = sql.Identifier("r", column.name)
    statement = sql.SQL(
        "SELECT flag FROM (SELECT ({})::text AS flag FROM {} LIMIT {}) AS s"
        " WHERE lower(flag) ~ {} AND flag NOT IN ('f', 'false') LIMIT 1"
    ).format(shown, relation.body, sql.Literal(LOOKED_AT), sql.Literal(NO))
    with asking(source, connection):
        row = connection.execute(statement).fetchone()
    if row:
        no = row[0] if column.own_type not in KNOWN else None
        yield f"{said}, as {row[0]!r} is, which it holds. {remedy} {_filter(column.name, column.own_type, no)!r}."


def _filter(name: str, type: str, no: str | None = None) -> str:
    """A condition that such a column may be meant by. :param no: a value that it holds and that says no."""
    if type.startswith("bit"):
        literal = f"B'{no or 0}'"
    elif no is None:
        literal = KNOWN.get(type, "'infinity'" if type == "date" or type.startswith("timestamp") else "'N'")
    else:
        literal = f"'{no}'"
    return f"{sql.Identifier(name).as_string(None)} = {literal}"
