"""How large generations are, with all that lies beside their tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from airflow_reindex_provider.core.errors import ReindexError
from airflow_reindex_provider.core.model import Size
from airflow_reindex_provider.databases.postgres.names import quoted
from airflow_reindex_provider.targets.postgres.definition import SUFFIX

_SIZES = """
SELECT c.relname, c.reltuples::bigint, pg_relation_size(c.oid) < %(little)s, pg_total_relation_size(c.oid)
  + coalesce((SELECT sum(pg_total_relation_size(p.oid)) FROM pg_class p
              WHERE p.relnamespace = c.relnamespace AND p.relname = c.relname || %(suffix)s), 0)::bigint
FROM pg_class c WHERE c.relnamespace = %(schema)s::regnamespace AND c.relname = ANY(%(names)s)
"""
_COUNTED_BYTES = 32 * 1024 * 1024
"""A table of less is counted in some ten milliseconds; of a larger one the planner's estimate is told."""


def sizes_of(
    connection: psycopg.Connection[Any], schema: str, names: Sequence[str], count: Callable[[str], int]
) -> dict[str, Size]:
    """By generation; one that is dropped meanwhile is left out. :param count: of the documents of one, where it is little."""
    asked = {"schema": quoted([schema]), "names": names, "little": _COUNTED_BYTES, "suffix": SUFFIX}
    rows = connection.execute(_SIZES, asked).fetchall()
    found = {}
    for name, known, small, size in rows:
        try:
            documents = count(name) if small else known if known >= 0 else None
        except ReindexError as error:
            if isinstance(error.__cause__, psycopg.errors.UndefinedTable):
                # A rebuild beside this one has retired it meanwhile.
                continue
            raise
        found[name] = Size(documents, not small, size)
    return found
