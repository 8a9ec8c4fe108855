"""What waits in the source, at once: one query that an index on the cursor serves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import HorizonError
from airflow_reindex_provider.core.model import Horizon, Look, Position
from airflow_reindex_provider.sources.postgres.horizon import glance
from airflow_reindex_provider.sources.postgres.relations import Relations

# A row that was committed while the statement was on its way is not one ahead of the clock.
_CLOCKS = {
    CursorType.TIMESTAMPTZ: "(statement_timestamp() + interval '1 s')",
    CursorType.TIMESTAMP: "((statement_timestamp() + interval '1 s') AT TIME ZONE {zone})",
    CursorType.DATE: "(statement_timestamp() AT TIME ZONE {zone})::date",
}
_LOOK = """
SELECT extract(epoch FROM statement_timestamp())::float8,
  (SELECT count(*) FROM (SELECT FROM {body} WHERE {waits} LIMIT {limit}) AS w),
  (SELECT count(*) FROM (SELECT FROM {body} WHERE {ahead} LIMIT {limit}) AS a),
  {oldest}
"""


def look(relations: Relations, connection: psycopg.Connection[Any], since: Position | None, limit: int) -> Look:
    """See ``LookingSource``. Rows of other groups count too: each may have left the group."""
    described, relation, composition = relations.description, relations.changed_rows, relations.composition
    schema, source = described.schema, described.definition
    try:
        horizon = glance(described, relation, connection)
    except HorizonError as error:
        horizon = Horizon(None, "cannot be seen", str(error))
    clock = _CLOCKS.get(schema.cursor_type)
    now = None if clock is None else sql.SQL(clock).format(zone=sql.Literal(source.cursor_timezone or "UTC"))
    waits, ahead = relation.since(since), sql.SQL("false").format()
    if now is not None:
        waits += sql.SQL(" AND {} <= {}").format(relation.cursor, now)
        ahead = sql.SQL("{} > {}").format(relation.cursor, now)
    oldest = sql.SQL("(SELECT {0}::text FROM {1} WHERE {2} ORDER BY {0} LIMIT 1)").format(
        relation.cursor, relation.body, waits
    )
    if composition is not None and since is not None:
        waits, ahead = composition.touched(relation, since, now), composition.touched(relation, now)
        oldest = composition.oldest(since, now)
    statement = sql.SQL(_LOOK).format(
        body=relation.body, waits=waits, ahead=ahead, oldest=oldest, limit=sql.Literal(limit)
    )
    row = connection.execute(statement).fetchone()
    assert row is not None
    at, waiting, stamped_ahead, first = row
    moment = None if first is None else schema.cursor_type.moment(first, schema.cursor_timezone)
    return Look(datetime.fromtimestamp(at, UTC), waiting, stamped_ahead, limit, first, moment, horizon)
