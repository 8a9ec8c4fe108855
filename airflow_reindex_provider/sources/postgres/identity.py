"""Which server, database and table a source is: what is another one after a restore, and the same after a restart."""

from __future__ import annotations

from psycopg import errors

IDENTITY = """json_strip_nulls(json_build_object(
    'server', CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE')
                   THEN (SELECT system_identifier::text FROM pg_control_system()) END,
    'timeline', CASE WHEN NOT pg_is_in_recovery()
                     THEN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int::text END,
    'database', (SELECT oid::text FROM pg_database WHERE datname = current_database()),
    'table', (SELECT c.oid::text FROM pg_class c WHERE c.oid = to_regclass(asked.relation) AND c.relkind IN ('r', 'p'))))"""
"""A view is made anew by whoever changes it, which says nothing of its rows; a query has no identity of its own."""

UNTOLD = (
    errors.UndefinedFunction,
    errors.FeatureNotSupported,
    errors.InsufficientPrivilege,
    errors.ObjectNotInPrerequisiteState,
)
"""How a server that is not quite Postgres says that it does not tell."""
