"""What hands out the values of an integer cursor: a sequence or the transaction ids, as far as the catalogue can tell."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from airflow_reindex_provider.core.errors import HorizonError
from airflow_reindex_provider.core.model import Counter
from airflow_reindex_provider.databases.postgres.names import identifier, quoted, render
from airflow_reindex_provider.databases.postgres.transactions import at_server
from airflow_reindex_provider.sources.postgres.definition import PostgresDefinition
from airflow_reindex_provider.sources.postgres.sql import Relation

# The greatest value comes first and the sequences last, so a sequence is never seen behind a row of its own. What a column's
# default says is a dependency; what a trigger's function does is its text, in which the sequence is looked for by name.
_STAND = """
WITH place AS (
  SELECT a.attrelid, a.attnum, a.atttypid FROM pg_attribute a
  WHERE a.attrelid = to_regclass({table}) AND a.attname = {column}
),
defaults AS (
  SELECT d.oid, pg_get_expr(d.adbin, d.adrelid) AS code
  FROM place JOIN pg_attrdef d ON d.adrelid = attrelid AND d.adnum = attnum
),
code AS (
  SELECT code FROM defaults
  UNION ALL SELECT p.prosrc FROM place JOIN pg_trigger t ON t.tgrelid = attrelid AND NOT t.tgisinternal
            JOIN pg_proc p ON p.oid = t.tgfoid
  UNION ALL SELECT p.prosrc FROM defaults d
            JOIN pg_depend n ON n.classid = 'pg_attrdef'::regclass AND n.objid = d.oid AND n.refclassid = 'pg_proc'::regclass
            JOIN pg_proc p ON p.oid = n.refobjid
),
sequences AS (
  SELECT s.* FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
  WHERE EXISTS (SELECT FROM place, pg_depend n WHERE n.classid = 'pg_class'::regclass AND n.objid = s.seqrelid
                AND n.refclassid = 'pg_class'::regclass AND n.refobjid = attrelid AND n.refobjsubid = attnum)
     OR EXISTS (SELECT FROM defaults d JOIN pg_depend n ON n.classid = 'pg_attrdef'::regclass AND n.objid = d.oid
                AND n.refclassid = 'pg_class'::regclass AND n.refobjid = s.seqrelid)
     OR EXISTS (SELECT FROM code WHERE code ~* 'nextval'
                AND code ~ ('\\m' || regexp_replace(c.relname, '([^[:alnum:]_])', '\\\\\\1', 'g') || '\\M'))
)
SELECT ({greatest}), clock_timestamp()::text,
  CASE WHEN EXISTS (SELECT FROM place WHERE atttypid = 'xid8'::regtype)
         OR EXISTS (SELECT FROM code WHERE code ~* 'pg_current_xact_id|txid_current')
       THEN pg_snapshot_xmax(pg_current_snapshot())::text::bigint END,
  (SELECT json_agg(json_build_object(
     'name', seqrelid::regclass::text, 'file', seqrelid || '/' || pg_relation_filenode(seqrelid),
     'form', concat_ws(' ', seqtypid::regtype, seqstart, seqmin, seqmax, seqincrement, seqcache, seqcycle,
                       (SELECT relpersistence FROM pg_class WHERE oid = seqrelid)),
     'cache', seqcache, 'step', seqincrement, 'cycle', seqcycle,
     'readable', has_sequence_privilege(seqrelid, 'SELECT,USAGE'),
     'last', CASE WHEN has_sequence_privilege(seqrelid, 'SELECT,USAGE') THEN pg_sequence_last_value(seqrelid) END)
     ORDER BY seqrelid) FROM sequences)
"""


def stand(
    source: PostgresDefinition, relation: Relation, connection: psycopg.Connection[Any]
) -> tuple[Counter, str, list[dict[str, Any]]]:
    """Where the cursor stands, the time at which its greatest value was seen, taken after it, and the sequences behind it."""
    row = connection.execute(
        sql.SQL(_STAND).format(
            table=sql.Literal(None if source.table is None else render(identifier(source.table))),
            column=sql.Literal(source.cursor_field),
            greatest=relation.greatest_cursor(),
        )
    ).fetchone()
    assert row is not None
    text, at, next_transaction, sequences = row
    greatest = None if text is None else int(text)
    if next_transaction is not None:
        return Counter(greatest, next_transaction, "the server's counter of transactions"), at, []
    return _counter(source, greatest, sequences or [], at_server(connection).role), at, sequences or []


def require_order(source: PostgresDefinition, sequences: list[dict[str, Any]]) -> None:
    """:raises HorizonError: a sequence does not hand out its values in increasing order, and no lag is stated."""
    if source.lag is not None:
        return
    for sequence in sequences:
        for wrong, mended in (
            (sequence["cache"] > 1, "CACHE 1"),
            (sequence["step"] < 0, "INCREMENT BY 1"),
            (sequence["cycle"], "NO CYCLE"),
        ):
            if wrong:
                raise HorizonError(
                    f"{source.label}: the sequence {sequence['name']}, by which {source.cursor_field!r} is set or which a trigger"
                    " of the table names, does not hand out its values in increasing order, so a late one would be skipped."
                    f" ALTER SEQUENCE {sequence['name']} {mended}; or state lag (a number of values)."
                )


def identity(sequences: list[dict[str, Any]]) -> dict[str, str]:
    """A sequence that is restarted gets another file, and so does one that is altered, whose form tells the two apart;
    ``nextval``, ``setval`` and vacuum leave both."""
    if not sequences:
        return {}
    return {
        "sequence": ", ".join(sequence["file"] for sequence in sequences),
        "form of the sequence": ", ".join(sequence["form"] for sequence in sequences),
    }


def _counter(source: PostgresDefinition, greatest: int | None, sequences: list[dict[str, Any]], role: str) -> Counter:
    if not sequences:
        return Counter(greatest, None, f"no sequence of {source.cursor_field!r} is known to the catalogue")
    for sequence in sequences:
        if not sequence["readable"]:
            grant = f"GRANT SELECT ON SEQUENCE {sequence['name']} TO {quoted([role])};"
            return Counter(greatest, None, f"the role may not read the sequence {sequence['name']}: {grant}")
    # One that was never called hands nothing out as yet: the rows have their values from elsewhere.
    called = [(s["last"] + s["step"], s["name"]) for s in sequences if s["last"] is not None]
    if not called:
        return Counter(
            greatest, None, f"the sequence {sequences[0]['name']} was not called since it was made or restarted"
        )
    least, name = max(called)
    return Counter(greatest, least, f"the sequence {name}")
