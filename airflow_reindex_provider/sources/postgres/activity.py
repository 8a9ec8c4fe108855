"""The transactions that are open in a database, as statements and their parts."""

from __future__ import annotations

from airflow_reindex_provider.databases.postgres.settings import IS_OUR_READER

_THIS_DATABASE = "(SELECT oid FROM pg_database WHERE datname = current_database())"

# The views of all this, pg_stat_activity and pg_prepared_xacts, join names to it that nobody asks for here.
ACTIVITY = f"""
activity AS MATERIALIZED (
  SELECT pid, pg_get_userbyid(usesysid) AS usename, application_name, state, xact_start, backend_type
  FROM pg_stat_get_activity(NULL)
  WHERE datid = {_THIS_DATABASE} AND pid <> pg_backend_pid()
    AND ({IS_OUR_READER}) IS NOT TRUE AND backend_type <> 'autovacuum worker'
)"""
"""Sessions that may hold uncommitted rows of this database. Vacuum writes none, and our own readers cannot."""

PREPARED = f"""(
  SELECT gid, pg_get_userbyid(ownerid) AS owner, prepared FROM pg_prepared_xact() WHERE dbid = {_THIS_DATABASE}) AS prepared"""

# A transaction that is being prepared leaves the one view for the other, so they are looked at in this order.
STILL_OPEN = f"""
WITH {ACTIVITY},
still_open AS (
  SELECT 'transaction of user ' || quote_literal(usename) || ', pid ' || pid AS what, xact_start AS since FROM activity
  WHERE xact_start <= %(at)s::timestamptz
  UNION ALL
  SELECT 'prepared transaction ' || quote_literal(gid) || ' of user ' || quote_literal(owner), prepared FROM {PREPARED}
)
SELECT what, extract(epoch FROM now() - since)::float8 FROM still_open ORDER BY since LIMIT 1
"""
