"""What a database's catalogue says of its tables, for whoever begins: which could be streams, by which key and cursor."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_reindex_provider.databases.postgres.connection import connect
from airflow_reindex_provider.databases.postgres.names import identifier, quoted, render
from airflow_reindex_provider.databases.postgres.settings import READER_TAG

# Partitions are read by the table that they are a part of; what an extension made is its own.
_TABLES = """
SELECT json_build_object(
  'schema', n.nspname, 'name', c.relname, 'rows', c.reltuples,
  'readable', has_table_privilege(c.oid, 'SELECT'),
  'recorded', to_regclass(format('%%I.%%I', n.nspname, c.relname || '_tombstones')) IS NOT NULL,
  'columns', (SELECT json_agg(json_build_object(
      'name', a.attname, 'type', format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL), 'not_null', a.attnotnull,
      'default', pg_get_expr(d.adbin, d.adrelid)) ORDER BY a.attnum)
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  'keys', (SELECT json_agg(k.columns ORDER BY k.is_primary DESC, json_array_length(k.columns), k.columns::text) FROM (
      SELECT i.indisprimary AS is_primary, json_agg(a.attname ORDER BY place) AS columns
      FROM pg_index i CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS p(attnum, place)
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.attnum
      WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL
        AND i.indexprs IS NULL AND place <= i.indnkeyatts
      GROUP BY i.indexrelid, i.indisprimary HAVING bool_and(a.attnotnull)) AS k))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND (%(schemas)s::name[] IS NULL OR n.nspname = ANY (%(schemas)s::name[]))
  AND c.relname !~ '_tombstones$' AND coalesce(obj_description(c.oid, 'pg_class'), '') !~ 'reindex'
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
ORDER BY n.nspname, c.relname
"""
_ZONE = "SELECT reset_val FROM pg_settings WHERE name = 'TimeZone'"
_TIMES = ("timestamp with time zone", "timestamp without time zone", "date")
# The names that frameworks and people give to the time of the last change, the surest first.
_CHANGED = (
    "updated_at",
    "updated",
    "last_updated",
    "last_update",
    "update_time",
    "updated_on",
    "updated_date",
    "date_updated",
    "modified_at",
    "modified",
    "last_modified",
    "modified_on",
    "modification_time",
    "date_modified",
    "modified_date",
    "changed_at",
    "changed",
    "last_changed",
    "mtime",
    "updatedat",
    "modifiedat",
    "lastupdated",
    "lastmodified",
    "write_date",
)
_GONE = re.compile(
    r"^(deleted_at|deleted|is_deleted|removed_at|removed|is_removed|deleted_on|date_deleted|archived_at)$", re.I
)
_ADDED = "updated_at"


@dataclass(frozen=True, slots=True)
class Proposal:
    """One table. :ivar key: None where no unique index over columns without NULL says one. :ivar cursor: None where no column
    looks like the time of the last change. :ivar zone: of the sessions that write a cursor without one. :ivar gone: a column that
    marks deleted rows. :ivar recorded: whether deletions are recorded beside it. :ivar rows: as last counted by the server."""

    schema: str
    name: str
    key: tuple[str, ...] | None
    cursor: str | None
    zone: str | None
    gone: str | None
    recorded: bool
    readable: bool
    rows: int | None

    @property
    def table(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def is_ready(self) -> bool:
        """Whether a stream of it would run as it is."""
        return self.key is not None and self.cursor is not None and self.readable

    @property
    def missing(self) -> Iterator[str]:
        """Statements without which it can be no stream."""
        table, cursor = render(identifier(self.table)), self.cursor or _ADDED
        if not self.readable:
            yield f"GRANT USAGE ON SCHEMA {quoted([self.schema])} TO CURRENT_USER; GRANT SELECT ON {table} TO CURRENT_USER;"
        if self.key is None:
            yield f"-- Choose its key: ALTER TABLE {table} ADD PRIMARY KEY (...);"
        if self.cursor is None:
            stamp = render(identifier(f"{self.schema}.{self.name}_stamp"))
            yield f"ALTER TABLE {table} ADD COLUMN {_ADDED} timestamptz NOT NULL DEFAULT now();"
            yield (
                f"CREATE OR REPLACE FUNCTION {stamp}() RETURNS trigger LANGUAGE plpgsql AS\n"
                f"$$ BEGIN NEW.{_ADDED} := now(); RETURN NEW; END $$;"
            )
            yield (
                f"CREATE OR REPLACE TRIGGER {quoted([self.name + '_stamp'])} BEFORE INSERT OR UPDATE ON {table}"
                f" FOR EACH ROW EXECUTE FUNCTION {stamp}();"
            )
        if self.key is not None and self.cursor is None:
            yield f"CREATE INDEX CONCURRENTLY ON {table} ({quoted([cursor, *self.key])});"


def propose(conn_id: str, schemas: Sequence[str] | None = None) -> list[Proposal]:
    """Each table of the database, or of some of its schemas; only the catalogue is read.

    :raises ConfigurationError: the connection cannot be opened. :raises TransientError: the server does not answer."""
    with connect(conn_id, owner="airflow reindex init", tag=READER_TAG, read_only=True) as connection:
        found = connection.execute(_TABLES, {"schemas": list(schemas) if schemas else None}).fetchall()
        (zone,) = connection.execute(_ZONE).fetchone() or ("UTC",)
    return [_proposal(facts, zone) for (facts,) in found]


def _proposal(facts: dict[str, Any], zone: str) -> Proposal:
    columns = facts["columns"] or []
    keys = facts["keys"] or [None]
    cursor = _cursor(columns)
    return Proposal(
        schema=facts["schema"],
        name=facts["name"],
        key=None if keys[0] is None else tuple(keys[0]),
        cursor=None if cursor is None else cursor["name"],
        zone=None if cursor is None or cursor["type"] == _TIMES[0] else zone,
        gone=next((column["name"] for column in columns if _GONE.match(column["name"])), None),
        recorded=facts["recorded"],
        readable=facts["readable"],
        rows=int(facts["rows"]) if facts["rows"] >= 0 else None,
    )


def _cursor(columns: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    found = [column for column in columns if column["type"] in _TIMES and column["name"].lower() in _CHANGED]
    # A zone tells more than none, and what is never NULL more than what may be.
    return min(
        found,
        key=lambda c: (_TIMES.index(c["type"]), not c["not_null"], _CHANGED.index(c["name"].lower())),
        default=None,
    )
