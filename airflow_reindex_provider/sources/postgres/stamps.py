"""Who sets the cursor field: a default that takes the database's clock, a trigger, or, as far as the catalogue can tell, the
application."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.databases.postgres.names import quoted
from airflow_reindex_provider.sources.postgres.clocks import is_the_time, other_zone
from airflow_reindex_provider.sources.postgres.shape import CLOCK

# Of the columns that one is computed from, which is as true as these are.
GENERATED = """
   UNION
   SELECT b.attrelid, b.attnum FROM named a
   JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid
   JOIN pg_attribute b ON b.attrelid = a.attrelid AND b.attnum = d.refobjsubid AND b.attnum <> a.attnum AND b.attnum > 0
   JOIN pg_type t ON t.oid = b.atttypid AND t.typcategory IN ('D', 'N')
   WHERE a.attgenerated <> '' AND (
     d.classid = 'pg_class'::regclass AND d.objid = a.attrelid AND d.objsubid = a.attnum
     OR d.classid = 'pg_attrdef'::regclass
        AND d.objid IN (SELECT f.oid FROM pg_attrdef f WHERE f.adrelid = a.attrelid AND f.adnum = a.attnum))"""

DEFAULTS = "LEFT JOIN pg_attrdef f ON f.adrelid = b.attrelid AND f.adnum = b.attnum"
NO_DEFAULTS = "CROSS JOIN (SELECT NULL::oid AS oid, NULL::oid AS adrelid, NULL::pg_node_tree AS adbin) AS f"

CALLS = """EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
                    AND d.refclassid = 'pg_proc'::regclass)"""

SEQUENCES = """(SELECT json_agg(json_build_object(
                   'name', q.seqrelid::regclass::text, 'cache', q.seqcache, 'step', q.seqincrement, 'cycle', q.seqcycle))
                 FROM pg_sequence q JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = q.seqrelid
                      AND d.refclassid = 'pg_class'::regclass AND d.refobjid = b.attrelid AND d.refobjsubid = b.attnum
                   OR d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
                      AND d.refclassid = 'pg_class'::regclass AND d.refobjid = q.seqrelid)"""

# Postgres' own trigger functions set no column.
TRIGGERS = r"""(SELECT json_agg(json_build_object('name', g.tgname, 'always', g.tgenabled = 'A',
                  'inserts', g.tgtype & 4 <> 0, 'zones', (
                  SELECT string_agg(z[1], ' ') FROM regexp_matches(
                    p.prosrc, '(at\s+time\s+zone\s+''[^'']+'')', 'gi') AS z)) ORDER BY g.tgname)
                FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
                WHERE g.tgrelid IN (SELECT b.attrelid UNION SELECT relid FROM pg_partition_tree(b.attrelid))
                AND NOT g.tgisinternal AND g.tgtype & 3 = 3 AND g.tgtype & 20 <> 0 AND g.tgenabled IN ('O', 'A')
                AND p.pronamespace <> 'pg_catalog'::regnamespace)"""

# Of each column in ``tree``: rows go into a partition by the table that it is a part of, but into an inherited child by
# itself.
STAMPS = f"""
(WITH written AS (
   SELECT DISTINCT coalesce(pg_partition_root(oid), oid) AS oid, name FROM tree
 ),
 named AS (
   SELECT a.* FROM written w JOIN pg_attribute a ON a.attrelid = w.oid AND a.attname = w.name
 ),
 bases AS (
   SELECT a.attrelid, a.attnum FROM named a WHERE a.attgenerated = ''{GENERATED}
 )
 SELECT json_agg(json_build_object(
   'table', n.nspname || '.' || c.relname, 'column', b.attname, 'identity', b.attidentity IN ('a', 'd'),
   'default', coalesce(pg_get_expr(f.adbin, f.adrelid), t.typdefault),
   'calls', {CALLS},
   'sequences', {SEQUENCES},
   'triggers', {TRIGGERS}
   ) ORDER BY n.nspname, c.relname, b.attname)
 FROM bases JOIN pg_attribute b USING (attrelid, attnum)
 JOIN pg_class c ON c.oid = b.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 JOIN pg_type t ON t.oid = b.atttypid {DEFAULTS})"""

# By a role, a database, the server or a function while it runs. A session with this setting fires the triggers alone that are
# enabled as ALWAYS or REPLICA.
REPLICA_ROLES = """
(SELECT json_agg(DISTINCT who) FROM (
   SELECT CASE WHEN s.setrole = 0 THEN 'database ' || quote_literal(current_database())
               ELSE 'role ' || quote_literal(pg_get_userbyid(s.setrole)) END AS who
   FROM pg_db_role_setting s
   WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
     AND 'session_replication_role=replica' = ANY (s.setconfig)
   UNION ALL
   SELECT 'the server, as this one' FROM pg_settings
   WHERE name = 'session_replication_role' AND reset_val = 'replica' AND source = 'configuration file'
   UNION ALL
   SELECT 'the function ' || oid::regprocedure FROM pg_proc WHERE 'session_replication_role=replica' = ANY (proconfig)) AS s)"""

# Of a table: what its foreign keys write into its rows when what they refer to goes or gets another key. Postgres fires the
# table's own triggers for it; a stamp that the application sets stays as it was.
REFERRING = """
(SELECT json_agg(json_build_object('name', k.conname, 'columns', (
    SELECT json_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a
    WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)),
   'to', k.confrelid::regclass::text) ORDER BY k.conname)
 FROM pg_constraint k
 WHERE k.contype = 'f' AND k.conrelid = to_regclass(asked.relation)
   AND (k.confdeltype IN ('n', 'd') OR k.confupdtype IN ('n', 'd'))
   AND NOT EXISTS (SELECT FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
                   WHERE g.tgrelid = k.conrelid AND NOT g.tgisinternal AND g.tgtype & 19 = 19 AND g.tgenabled IN ('O', 'A')
                   AND p.pronamespace <> 'pg_catalog'::regnamespace))"""

_COUNTS = ("nextval(", "pg_current_xact_id(", "txid_current(")


def doubts(
    label: str,
    kind: CursorType,
    zone: str | None,
    stamps: list[dict[str, Any]] | None,
    replica_roles: list[str] | None,
) -> Iterator[str]:
    """What should be said of the columns that the cursor comes from. :param zone: the one that is stated for it."""
    for stamp in stamps or ():
        column, table = f"cursor_field {stamp['column']!r} of {stamp['table']}", stamp["table"]
        triggers = stamp["triggers"] or ()
        if not triggers and not _sets_itself(kind, stamp):
            yield _by_the_application(label, kind, column, stamp)
        elif not any(t["inserts"] for t in triggers) and _lies_behind(kind, stamp):
            yield (
                f"{label}: {column} is set to {stamp['default']} by default. Where that lies further back than the margin, rows"
                " appear with stamps behind the checkpoint, and are not seen until a sweep. Let the default be now(), or state"
                " lag (a timedelta: how far it may lie back, plus the longest transaction)."
            )
        yield from _of_another_zone(label, kind, zone, column, stamp)
        asleep = next((t["name"] for t in triggers if not t["always"]), None)
        if asleep is not None and replica_roles:
            yield (
                f"{label}: sessions of {', '.join(replica_roles)} have session_replication_role = replica, in which the trigger"
                f" {asleep!r} does not fire and {column} keeps what it was: rows that they change are not seen until a sweep."
                f" ALTER TABLE {quoted(table.split('.', 1)).replace(', ', '.')} ENABLE ALWAYS TRIGGER {quoted([asleep])};"
            )


def unstamped(label: str, cursor_field: str, referring: list[dict[str, Any]] | None) -> Iterator[str]:
    """What should be said of foreign keys that change rows by themselves."""
    for key in referring or ():
        yield (
            f"{label}: the foreign key {key['name']!r} sets {', '.join(key['columns'])} by itself when a row of {key['to']} is"
            f" deleted or gets another key, and no trigger sets {cursor_field!r} then: such a change is not seen until a sweep."
            f" Let a trigger set {cursor_field!r} to now() before every update."
        )


def _sets_itself(kind: CursorType, stamp: dict[str, Any]) -> bool:
    default = (stamp["default"] or "").lower()
    if kind is CursorType.INTEGER:
        return stamp["identity"] or stamp["calls"] or any(call in default for call in _COUNTS)
    return stamp["calls"] or CLOCK.search(default) is not None


def _lies_behind(kind: CursorType, stamp: dict[str, Any]) -> bool:
    """Whether the default takes the clock and does not leave it at that. What a function of theirs does, nobody knows."""
    default = stamp["default"] or ""
    of_the_clock = kind is not CursorType.INTEGER and not stamp["calls"] and CLOCK.search(default) is not None
    return of_the_clock and not is_the_time(default, kind)


def _of_another_zone(
    label: str, kind: CursorType, zone: str | None, column: str, stamp: dict[str, Any]
) -> Iterator[str]:
    if kind not in (CursorType.TIMESTAMP, CursorType.DATE):
        return
    triggers = stamp["triggers"] or ()
    code = [(f"the trigger {t['name']!r} takes", t["zones"] or "") for t in triggers]
    if not any(t["inserts"] for t in triggers):
        code.append(("its default takes", stamp["default"] or ""))
    for who, text in code:
        if other := other_zone(text, zone):
            yield (
                f"{label}: {column} is read as the time of {zone}, as cursor_timezone says, and {who} that of {other}. Where"
                " their clocks show different times, rows are skipped until a sweep, or come hours late: state"
                f" cursor_timezone={other!r}, or mend what sets the column."
            )


def _by_the_application(label: str, kind: CursorType, column: str, stamp: dict[str, Any]) -> str:
    has = f"its default is {stamp['default']}" if stamp["default"] else "it has no default"
    if kind is CursorType.INTEGER:
        return (
            f"{label}: {column} is set by no sequence, transaction id or trigger ({has}). Whatever sets it must hand out"
            " increasing values, one to each change: a row with a value below the checkpoint is not seen until a sweep. Let a"
            " trigger set it on every insert and update, or state lag (a number of values)."
        )
    return (
        f"{label}: {column} is stamped by no clock of the database ({has}, and no trigger sets it). Stamps of the application"
        " are of its own clock, and of before its transaction commits: a row that appears with a stamp behind the checkpoint is"
        " not seen until a sweep, and one stamped ahead is left out until then. State lag (a timedelta: the longest"
        " transaction, plus the greatest difference of the clocks), or let a default and a trigger set the column to now()."
    )
