"""The passages of a generation: a table beside its own, whose rows are made and removed and never changed.

    articles_20260101t000000                          articles_20260101t000000_passages
    id, title, .., _reindex_document = 7,             document, hash, text,     embedding
    _reindex_passages = {a1.., b2..}        <------   7,        a1.., 'First',  [0.1, ..]
    (in their order, with fields and offsets)         7,        b2.., 'Second', [0.7, ..]

What may change of a passage, its place and its offsets, is in the row of its document. So a document whose texts did not change
does not touch this table, whose index over vectors is what makes an update dear.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from psycopg import sql

from airflow_reindex_provider.core.embedding.embedder import HASH_BYTES
from airflow_reindex_provider.core.embedding.passages import distinct
from airflow_reindex_provider.core.embedding.recipe import Recipe
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Document
from airflow_reindex_provider.targets.postgres.marks import MARK, mark_of
from airflow_reindex_provider.targets.postgres.statements import DELETED, VERSION

DOCUMENT = "_reindex_document"
"""A number that the table gives to each of its rows, for its passages to point at."""
HASHES = "_reindex_passages"
FIELDS = "_reindex_passage_fields"
STARTS = "_reindex_passage_starts"
ENDS = "_reindex_passage_ends"
LISTS = {HASHES: "uuid[]", FIELDS: "text[]", STARTS: "integer[]", ENDS: "integer[]"}
"""A document's passages in their order: columns of its row, beside ``DOCUMENT``."""

OWN = (VERSION, DELETED, DOCUMENT, *LISTS)
"""All columns of a generation that are ours."""

_MAX_INDEXED = 2_000
"""Dimensions of a ``vector`` that pgvector can index; a ``halfvec`` may have twice as many."""
_MAX_DIMENSIONS = 4_000
_VIEW = ("place", "field", "start_at", "end_at", "text", "embedding")
"""Columns of the view, behind those of the key."""


def vector_type(dimensions: int) -> str:
    return f"{'vector' if dimensions <= _MAX_INDEXED else 'halfvec'}({dimensions})"


def default_index(dimensions: int) -> str:
    operators = vector_type(dimensions).partition("(")[0]
    return f"USING hnsw (embedding {operators}_cosine_ops)"


def row_columns() -> list[sql.Composed]:
    """What a generation's own table has besides, as ``CREATE TABLE`` takes it."""
    lists = [sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in LISTS.items()]
    return [sql.SQL("{} bigint GENERATED ALWAYS AS IDENTITY UNIQUE").format(sql.Identifier(DOCUMENT)), *lists]


def check_recipe(
    connection: psycopg.Connection[Any], recipe: Recipe, columns: Sequence[str], primary_key: Sequence[str], label: str
) -> None:
    """:param columns: of the index. :raises ConfigurationError: passages of this kind cannot be beside it."""
    for name in recipe.fields:
        if name not in columns:
            raise ConfigurationError(
                f"{label}: embed= names the field {name!r}, which is no column of the index. It has: {', '.join(columns)}. A"
                f" column that a transform fills has to be declared: PostgresTarget(columns={{{name!r}: 'text'}})."
            )
    for name in primary_key:
        if name in _VIEW:
            raise ConfigurationError(
                f"{label}: the key column {name!r} has the name of a column that the view of passages needs for itself. Give it"
                " another one at the source, in a query, with AS."
            )
    kind = vector_type(recipe.dimensions).partition("(")[0]
    if recipe.dimensions > _MAX_DIMENSIONS:
        raise ConfigurationError(
            f"{label}: the model gives {recipe.dimensions:,} dimensions, and pgvector indexes {_MAX_DIMENSIONS:,} at the most."
            " Ask the model for fewer, or take another one."
        )
    found = connection.execute("SELECT to_regtype(%s) IS NOT NULL", [kind]).fetchone()
    if found != (True,):
        raise ConfigurationError(
            f"{label}: this database has no type {kind!r}, which vectors of {recipe.dimensions:,} dimensions need. CREATE"
            " EXTENSION vector; or, where it is older than 0.7, ALTER EXTENSION vector UPDATE."
        )


def create_passages(
    connection: psycopg.Connection[Any], table: sql.Identifier, passages: sql.Identifier, recipe: Recipe
) -> None:
    """:param table: the generation's own."""
    connection.execute(
        sql.SQL(
            "CREATE TABLE {passages} (document bigint NOT NULL, hash uuid NOT NULL, text text NOT NULL, embedding {kind}"
            " NOT NULL, PRIMARY KEY (document, hash)); CREATE INDEX ON {passages} (hash)"
        ).format(passages=passages, kind=sql.SQL(vector_type(recipe.dimensions)))
    )
    comment = json.dumps({MARK: {"passages": recipe.to_json()}})
    connection.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(passages, sql.Literal(comment)))


def recipe_of(connection: psycopg.Connection[Any], passages: sql.Identifier) -> Recipe | None:
    """What the passages there are made by; None where there are none."""
    row = connection.execute(
        "SELECT obj_description(to_regclass(%s), 'pg_class')", [passages.as_string(None)]
    ).fetchone()
    found = mark_of(row and row[0]).get("passages")
    return Recipe.from_json(found) if isinstance(found, dict) else None


def view_query(table: sql.Identifier, passages: sql.Identifier, primary_key: Sequence[str]) -> sql.Composed:
    """Passages as searches see them: each with the key of its document, its place, its field and its offsets."""
    at = sql.SQL("array_position(d.{}, p.hash)").format(sql.Identifier(HASHES))
    return sql.SQL(
        "SELECT {key}, {at} - 1 AS place, d.{fields}[{at}] AS field, d.{starts}[{at}] AS start_at, d.{ends}[{at}] AS end_at,"
        " p.text, p.embedding FROM {passages} AS p JOIN {table} AS d ON d.{document} = p.document WHERE NOT d.{deleted}"
    ).format(
        key=sql.SQL(", ").join(sql.Identifier("d", name) for name in primary_key),
        at=at,
        fields=sql.Identifier(FIELDS),
        starts=sql.Identifier(STARTS),
        ends=sql.Identifier(ENDS),
        passages=passages,
        table=table,
        document=sql.Identifier(DOCUMENT),
        deleted=sql.Identifier(DELETED),
    )


def view_columns(primary_key: Sequence[str]) -> list[str]:
    return [*primary_key, *_VIEW]


def listed_version(passages: sql.Identifier) -> sql.Composed:
    """The version of a row ``t``; one less where a passage of it is missing, so that a sweep finds it stale."""
    return sql.SQL(
        "(t.{version} - (EXISTS (SELECT FROM unnest(t.{hashes}) AS h(hash) WHERE NOT EXISTS (SELECT FROM {passages} AS p"
        " WHERE p.document = t.{document} AND p.hash = h.hash)))::int)"
    ).format(
        version=sql.Identifier(VERSION),
        hashes=sql.Identifier(HASHES),
        passages=passages,
        document=sql.Identifier(DOCUMENT),
    )


def lists_of(document: Document) -> dict[str, str]:
    """What its row says of its passages, as Postgres writes lists."""
    passages = distinct(document.passages)
    quoted = {name: _quoted(name) for name in {passage.field for passage in passages}}
    return {
        HASHES: uuids([passage.hash for passage in passages]),
        FIELDS: _list([quoted[passage.field] for passage in passages]),
        STARTS: _numbers([passage.start for passage in passages]),
        ENDS: _numbers([passage.end for passage in passages]),
    }


def uuids(hashes: Sequence[bytes]) -> str:
    return "{" + b"".join(hashes).hex(",", HASH_BYTES) + "}"


def _numbers(values: Sequence[int | None]) -> str:
    return _list(map(str, values)).replace("None", "NULL")


def _list(values: Iterable[str]) -> str:
    return "{" + ",".join(values) + "}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
