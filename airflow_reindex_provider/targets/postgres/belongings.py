"""All in a database that carries this package's mark, whosever stream it is of; and how one of these is removed."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from airflow_reindex_provider.core.generations import made_at
from airflow_reindex_provider.core.model import Marked
from airflow_reindex_provider.targets.postgres.definition import SUFFIX
from airflow_reindex_provider.targets.postgres.marks import MARK, stream_of
from airflow_reindex_provider.targets.postgres.passages import recipe_of
from airflow_reindex_provider.targets.postgres.swap import dependents_named

VIEW, GENERATION = "view", "generation"
_KINDS = {"v": VIEW, "r": GENERATION}
# Views first: they read from the tables.
_MARKED = """
SELECT n.nspname, c.relname, c.relkind::text, obj_description(c.oid, 'pg_class'), pg_total_relation_size(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'r') AND c.relpersistence <> 't' AND obj_description(c.oid, 'pg_class') LIKE %(mark)s
  AND (%(schema)s::text IS NULL OR (n.nspname = %(schema)s AND c.relname = %(name)s))
ORDER BY c.relkind DESC, 1, 2
"""


def listed(connection: psycopg.Connection[Any], schema: str | None = None, name: str | None = None) -> list[Marked]:
    """A table is ours where its name ends in a time: one that somebody has renamed is kept by somebody.

    :param schema: and ``name``: of one of them; None is all."""
    rows = connection.execute(_MARKED, {"mark": f'%"{MARK}"%', "schema": schema, "name": name}).fetchall()
    return [
        Marked(_KINDS[kind], stream, f"{schema}.{name}", size if kind == "r" else None)
        for schema, name, kind, comment, size in rows
        if (stream := stream_of(comment)) is not None and (kind == "v" or made_at(name) is not None)
    ]


def unmade(connection: psycopg.Connection[Any], marked: Marked, *, label: str) -> bool:
    """See ``MarkingTarget``. To be called in a transaction."""
    schema, _, name = marked.name.partition(".")
    if not any((m.kind, m.stream) == (marked.kind, marked.stream) for m in listed(connection, schema, name)):
        return False
    relation = sql.Identifier(schema, name)
    with dependents_named(connection, relation, label):
        kind = sql.SQL("VIEW" if marked.kind == VIEW else "TABLE")
        connection.execute(sql.SQL("DROP {} {}").format(kind, relation))
    if marked.kind == GENERATION:
        _drop_passages(connection, sql.Identifier(schema, name + SUFFIX), label)
    return True


def _drop_passages(connection: psycopg.Connection[Any], passages: sql.Identifier, label: str) -> None:
    """Those of a generation that is dropped; where it has none there is no such table."""
    if recipe_of(connection, passages) is not None:
        with dependents_named(connection, passages, label):
            connection.execute(sql.SQL("DROP TABLE {}").format(passages))
