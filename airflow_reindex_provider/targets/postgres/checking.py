"""A target examined: rights, what belongs to whom, and room, with the statement that mends it. Nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

from airflow_reindex_provider.core.findings import ok, wrong
from airflow_reindex_provider.core.model import Finding, Generation
from airflow_reindex_provider.databases.postgres.names import quoted
from airflow_reindex_provider.databases.postgres.transactions import at_server

_RIGHTS = """
SELECT n.oid IS NOT NULL, n.oid IS NOT NULL AND has_schema_privilege(n.oid, 'USAGE'),
       n.oid IS NOT NULL AND has_schema_privilege(n.oid, 'CREATE'), has_database_privilege(current_database(), 'TEMPORARY'),
       current_setting('transaction_read_only') = 'on'
FROM (VALUES (%(schema)s::name)) AS asked(name) LEFT JOIN pg_namespace n ON n.nspname = asked.name
"""
_OWNERS = """
SELECT c.relname, c.relkind, pg_get_userbyid(c.relowner) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relname = ANY (%(names)s::name[]) AND NOT pg_has_role(c.relowner, 'USAGE')
ORDER BY c.relname
"""


def rights(connection: psycopg.Connection[Any], schema: str) -> Iterator[Finding]:
    """Of the role, at the schema and the database."""
    row = connection.execute(_RIGHTS, {"schema": schema}).fetchone()
    assert row is not None
    there, use, create, temporary, read_only = row
    at = at_server(connection)
    role, quoted_schema = quoted([at.role]), quoted([schema])
    lacking: list[str] = []
    if not there:
        lacking.append(f"There is no schema {schema!r}. CREATE SCHEMA {quoted_schema} AUTHORIZATION {role};")
    elif not (use and create):
        lacking.append(
            f"Role {at.role!r} may not make tables in schema {schema!r}. GRANT USAGE, CREATE ON SCHEMA {quoted_schema} TO {role};"
        )
    if not temporary:
        lacking.append(
            f"Role {at.role!r} may make no temporary tables, through which chunks go."
            f" GRANT TEMPORARY ON DATABASE {quoted([at.database])} TO {role};"
        )
    if read_only:
        lacking.append(
            "Sessions of the connection are read only: it leads to a standby, or default_transaction_read_only is on."
            f" ALTER ROLE {role} RESET default_transaction_read_only;"
        )
    yield from (wrong("rights", says) for says in lacking)
    if not lacking:
        yield ok("rights", f"Role {at.role!r} may make tables in schema {schema!r}.")


def owners(
    connection: psycopg.Connection[Any], schema: str, view: str, generations: Sequence[Generation]
) -> Iterator[Finding]:
    """Of what a run writes to and a rebuild replaces: nobody else may."""
    names = [view, *(g.name for g in generations)]
    role = quoted([at_server(connection).role])
    for name, kind, owner in connection.execute(_OWNERS, {"schema": schema, "names": names}).fetchall():
        what = "VIEW" if kind == "v" else "TABLE"
        place = sql.Identifier(schema, name).as_string(None)
        yield wrong("owner", f"{name} belongs to role {owner!r}. ALTER {what} {place} OWNER TO {role};")


def room(sizes: Sequence[int]) -> Finding:
    """:param sizes: bytes of each generation."""
    taken = (
        f"The index takes {sum(sizes) / 1e6:,.0f} MB, and a rebuild needs as much again as the live one. "
        if sizes
        else ""
    )
    return ok("room", f"{taken}Postgres does not say how much its disk has left.")
