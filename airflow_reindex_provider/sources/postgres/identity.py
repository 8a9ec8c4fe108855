"""Which server, database and table a source is: what is another one after a restore, and the same after a restart."""

from __future__ import annotations

from psycopg import errors

IDENTITY = """json_strip_nulls(json_build_object(
    'server', CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE')
                   THEN (SELECT system_identifier::text FROM pg_control_system()) END,
    'timeline', CASE WHEN NOT pg_is_in_recovery()
                     THEN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int::text END,
    'database', (SELECT oid::text FROM pg_database WHERE datname = current_database())))"""
"""Of the server and the database."""

UNTOLD = (
    errors.UndefinedFunction,
    errors.FeatureNotSupported,
    errors.InsufficientPrivilege,
    errors.ObjectNotInPrerequisiteState,
)
"""How a server that is not quite Postgres says that it does not tell."""
