"""What a generation in Postgres holds, for a sweep."""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import sql

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.keys import KeyKind, key_kinds
from airflow_reindex_provider.core.model import Schema
from airflow_reindex_provider.databases.postgres.listing import KeyColumn, KeyList
from airflow_reindex_provider.targets.postgres.statements import DELETED, VERSION


def key_list(
    table: sql.Identifier, held: Mapping[str, str], schema: Schema, *, label: str, below: int | None = None
) -> KeyList:
    """:param held: the table's columns and their types. :param below: a version; None is no bound.

    :raises ConfigurationError: a key column's values have other texts than at the source, so keys could not be compared.
    """
    columns = []
    for name, kind in zip(schema.primary_key, key_kinds(schema), strict=True):
        here, there = held[name], schema.field(name).type
        if kind is KeyKind.TEXT and here not in (there, "text"):
            raise ConfigurationError(
                f"{label}: key column {name!r} is a {here} here and a {there} at the source. The same key could have two texts,"
                f" so a sweep cannot tell what is missing. Rebuild the index without columns={{{name!r}: ...}}."
            )
        columns.append(KeyColumn.of(sql.Identifier("t", name), kind, here))
    version = sql.Identifier("t", VERSION)
    return KeyList(
        body=sql.SQL("{} AS t").format(table),
        columns=tuple(columns),
        version=version,
        gone=sql.Identifier("t", DELETED),
        below=sql.SQL("true") if below is None else sql.SQL("{} < {}").format(version, sql.Literal(below)),
    )
