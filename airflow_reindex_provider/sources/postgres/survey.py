"""What Postgres is asked of tables, and of the transactions that are open: no row of a table is read.

To plan a statement takes a server longer than to answer it, the more so the more stands in one, and a new session looks up
whatever it meets. So all relations are asked in one message of a few short statements what each of them has to say, and in a
second one what only some have: children, triggers, defaults, domains, subscriptions, tombstones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.databases.postgres.types import IS_FIXED_TEXT
from airflow_reindex_provider.sources.postgres.activity import ACTIVITY, PREPARED
from airflow_reindex_provider.sources.postgres.identity import IDENTITY, UNTOLD
from airflow_reindex_provider.sources.postgres.stamps import (
    CALLS,
    DEFAULTS,
    GENERATED,
    NO_DEFAULTS,
    REFERRING,
    REPLICA_ROLES,
    SEQUENCES,
    STAMPS,
    TRIGGERS,
)
from airflow_reindex_provider.sources.postgres.standing import ORIGINS, STANDING, SUBSCRIPTION, TREE
from airflow_reindex_provider.sources.postgres.traits import Traits

if TYPE_CHECKING:
    import psycopg

Facts = dict[str, Any]

_ASKED = (
    "unnest(%(relations)s::text[], %(cursors)s::text[], %(tombstones)s::text[])"
    " WITH ORDINALITY AS asked (relation, cursor, tombstones, place)"
)

# now() is taken before the activity is looked at, so a transaction that begins meanwhile begins after it. The margin covers
# the instant between a backend's taking its timestamp and publishing it. Times without a zone go back when a clock does:
# the least local time of the next three hours, in steps that every zone's changes fall on, is a bound in any zone.
CLOCK = f"""
WITH {ACTIVITY},
instants AS (
  SELECT now() AS now_at,
         CASE WHEN %(lag)s::interval IS NOT NULL
              THEN least(now(), CASE WHEN pg_is_in_recovery()
                                     THEN coalesce(pg_last_xact_replay_timestamp(), '-infinity') END) - %(lag)s::interval
              ELSE least((SELECT min(xact_start) FROM activity), now()) - %(margin)s::interval END AS safe_at
),
bounds AS (
  SELECT now_at, safe_at, safe_at::text AS safe, now_at::text AS now,
         least(safe_at AT TIME ZONE %(zone)s,
               (SELECT min((date_trunc('hour', safe_at) + step * interval '15 min') AT TIME ZONE %(zone)s)
                FROM generate_series(1, 16) AS step
                WHERE date_trunc('hour', safe_at) + step * interval '15 min' > safe_at)) AS safe_local,
         now_at AT TIME ZONE %(zone)s AS now_local
  FROM instants
)
SELECT json_build_object(
  'role', current_user,
  'sees_all', pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
  'standby', pg_is_in_recovery(),
  'untracked', (SELECT json_agg(json_build_object('pid', pid, 'user', usename)) FROM activity WHERE state = 'disabled'),
  'holder', (SELECT json_build_object('pid', pid, 'user', usename, 'application', application_name, 'state', state,
                                      'kind', backend_type, 'age_s', extract(epoch FROM now() - xact_start)::float8)
             FROM activity WHERE xact_start IS NOT NULL ORDER BY xact_start LIMIT 1),
  'prepared', (SELECT json_build_object('gid', gid, 'user', owner, 'age_s', extract(epoch FROM now() - prepared)::float8)
               FROM {PREPARED} ORDER BY prepared LIMIT 1),
  'safe', safe, 'safe_local', safe_local::text, 'safe_date', safe_local::date::text,
  'now', now, 'now_local', now_local::text, 'now_date', now_local::date::text,
  'identity', {IDENTITY},
  'origins', {ORIGINS},
  'subscribed', EXISTS (SELECT FROM pg_subscription_rel)
) FROM bounds
"""
"""Of the server and its transactions; it comes first, and what it says of these is of the beginning of the transaction."""

# What Postgres notes of a relation for itself may say that there are children or triggers which are gone, and never that there
# are none where there are some. A foreign key has triggers too, at both of its ends.
_RELATIONS = f"""
SELECT (SELECT json_build_object(
          'schema', n.nspname, 'name', c.relname, 'oid', c.oid::text, 'kind', c.relkind, 'persistence', c.relpersistence,
          'heap', c.relam IN (0, 2), 'system', c.oid < 16384, 'triggers', c.relhastriggers,
          'family', c.relkind = 'p' OR c.relispartition OR c.relhassubclass)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(asked.relation))
FROM {_ASKED} ORDER BY asked.place
"""

_TREE = TREE.format(roots="SELECT to_regclass(asked.relation)::oid, asked.cursor::name")
_ALONE = "tree(oid, name) AS (SELECT to_regclass(asked.relation)::oid, asked.cursor::name)"

_CHILDREN = """
  SELECT c.oid, n.nspname || '.' || c.relname AS name, ARRAY[n.nspname, c.relname] AS path, c.relkind
  FROM tree JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.oid <> to_regclass(asked.relation) AND (NOT c.relispartition OR c.relkind NOT IN ('r', 'p'))"""
_CHILDLESS = """
  SELECT NULL::oid AS oid, NULL::text AS name, NULL::text[] AS path, NULL::"char" AS relkind WHERE false"""

# An inherited child may do without.
_CHILD_IS_NULL = """
                AND NOT EXISTS (SELECT FROM children c JOIN pg_attribute i ON i.attrelid = c.oid AND i.attname = a.attname
                                WHERE NOT i.attnotnull)"""

OLD_CONSTRAINTS = 180_000
# Since this version a constraint need not hold for rows from before it.
_OLD_IS_NULL = """
                AND NOT EXISTS (SELECT FROM pg_constraint k
                                WHERE k.conrelid IN (SELECT oid FROM children UNION SELECT a.attrelid) AND k.contype = 'n'
                                AND NOT k.convalidated AND k.conkey = ARRAY[a.attnum])"""

BASE_TYPE = """(
                WITH RECURSIVE below AS (
                  SELECT typbasetype AS oid FROM pg_type WHERE oid = {of}.oid AND typtype = 'd'
                  UNION ALL SELECT t.typbasetype FROM below JOIN pg_type t USING (oid) WHERE t.typtype = 'd')
                SELECT format_type(t.oid, NULL) AS type, t.typtype AS kind FROM below JOIN pg_type t USING (oid)
                WHERE t.typtype <> 'd')"""
"""What a domain is in the end, through all domains that it is of."""

_BASE_TYPE = BASE_TYPE.format(of="t")
_NO_BASE_TYPE = "(SELECT NULL AS type, NULL AS kind)"

_COLUMNS = f"""(
  SELECT json_agg(json_build_object(
                'name', a.attname, 'not_null', a.attnotnull{_CHILD_IS_NULL}{_OLD_IS_NULL},
                'kind', t.typtype, 'builtin', t.typnamespace = 'pg_catalog'::regnamespace,
                'generated', a.attgenerated, 'base', b.type, 'base_kind', b.kind, 'fixed_text', {IS_FIXED_TEXT},
                'deterministic', (SELECT c.collisdeterministic FROM pg_collation c WHERE c.oid = a.attcollation) IS NOT FALSE,
                'type', format_type(a.atttypid, NULL), 'declared', format_type(a.atttypid, a.atttypmod),
                'number', a.attnum, 'collation', a.attcollation::bigint, 'has_default', a.atthasdef,
                'identity', a.attidentity IN ('a', 'd'), 'type_default', t.typdefault) ORDER BY a.attnum)
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN LATERAL {_BASE_TYPE} AS b ON true
  WHERE a.attrelid = to_regclass(asked.relation) AND a.attnum > 0 AND NOT a.attisdropped)"""

# Two rows may have values that are equal to their column: an index compares in its own collation, and by its operator class.
_IS_OF_ITS_TYPE = "(o.opcdefault OR o.opcname LIKE '%%pattern_ops')"
_BTREE = 403
"""pg_am.oid, the same on every server."""

# Of the relations alone, by the numbers of their columns.
_INDEXES = f"""
SELECT (SELECT json_agg(json_build_object(
          'unique', i.indisunique AND i.indimmediate, 'plain', i.indoption::text !~ '[^0 ]',
          'of_its_type', NOT EXISTS (SELECT FROM pg_opclass o WHERE o.oid = ANY (i.indclass) AND NOT {_IS_OF_ITS_TYPE}),
          'btree', EXISTS (SELECT FROM pg_opclass o WHERE o.oid = i.indclass[0] AND o.opcmethod = {_BTREE}),
          'keys', i.indkey::int2[], 'collations', i.indcollation::oid[]::bigint[], 'parts', i.indnkeyatts))
        FROM pg_index i WHERE i.indrelid = to_regclass(asked.relation) AND i.indisvalid AND i.indpred IS NULL)
FROM {_ASKED} ORDER BY asked.place
"""

_SAME_EQUALITY = f"""NOT EXISTS (
                  SELECT FROM unnest(i.indkey, i.indcollation, i.indclass) WITH ORDINALITY AS k(attnum, coll, class, place)
                  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                  JOIN pg_opclass o ON o.oid = k.class LEFT JOIN pg_collation c ON c.oid = a.attcollation
                  WHERE k.place <= i.indnkeyatts
                  AND (c.collisdeterministic IS FALSE AND k.coll <> a.attcollation OR NOT {_IS_OF_ITS_TYPE}))"""

# Of ``r``, any relation, by the names of its columns.
INDEXES_OF = f"""(SELECT json_agg(json_build_object(
                'unique', i.indisunique AND i.indimmediate, 'as_columns', {_SAME_EQUALITY},
                'btree', m.amname = 'btree', 'plain', i.indoption::text !~ '[^0 ]',
                'columns', (SELECT json_agg(a.attname ORDER BY k.place)
                            FROM unnest(i.indkey) WITH ORDINALITY AS k(attnum, place)
                            LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                            WHERE k.place <= i.indnkeyatts)))
              FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
              WHERE i.indrelid = r.oid AND i.indisvalid AND i.indpred IS NULL)"""

_TOMBSTONES = """CASE WHEN asked.tombstones IS NOT NULL THEN json_build_object(
    'columns', (SELECT json_object_agg(a.attname, format_type(a.atttypid, a.atttypmod)) FROM pg_attribute a
                WHERE a.attrelid = to_regclass(asked.tombstones) AND a.attnum > 0 AND NOT a.attisdropped),
    'indexes', (SELECT indexes FROM indexed WHERE oid = to_regclass(asked.tombstones)),
    'owners', (SELECT json_agg(o.told) FROM (
                 SELECT CASE WHEN line LIKE '{"owner": %%' THEN line::json END AS told
                 FROM regexp_split_to_table(obj_description(to_regclass(asked.tombstones), 'pg_class'), E'\\n') AS line) AS o
               WHERE to_regclass(format('%%I.%%I', o.told #>> '{owner,0}', o.told #>> '{owner,1}')) IS NOT NULL),
    'triggers', (SELECT json_agg(json_build_object(
                   'name', t.tgname, 'own', t.tgrelid = to_regclass(asked.relation), 'table', t.tgrelid::regclass::text,
                   'enabled', t.tgenabled, 'function', p.prosrc))
                 FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
                 WHERE t.tgrelid IN (SELECT to_regclass(asked.relation) UNION
                                     SELECT relid FROM pg_partition_tree(to_regclass(asked.relation))))) END"""

_SECOND = f"""
SELECT told.facts FROM {_ASKED}, LATERAL (
WITH RECURSIVE {_TREE},
children AS ({_CHILDREN}
),
indexed AS (
  SELECT oid, {INDEXES_OF} AS indexes
  FROM (SELECT oid FROM children UNION SELECT to_regclass(asked.tombstones)::oid) AS r (oid)
)
SELECT json_build_object({{facts}})
) AS told (facts) ORDER BY asked.place
"""

_CHILDREN_TOLD = """(SELECT json_agg(json_build_object(
                 'name', child.name, 'path', child.path, 'kind', child.relkind,
                 'indexes', (SELECT indexes FROM indexed WHERE oid = child.oid)) ORDER BY child.name)
               FROM children AS child)"""


def ask(connection: psycopg.Connection[Any], named: Mapping[str, Any]) -> list[Facts]:
    """The facts of each relation.

    :param named: ``relations``, ``cursors`` and ``tombstones``, one of each for a relation; ``lag``, ``margin`` and ``zone``."""
    from airflow_reindex_provider.databases.postgres.transactions import transaction

    try:
        with transaction(connection):
            return _asked(connection, named, CLOCK)
    except UNTOLD:
        with transaction(connection):
            return _asked(connection, named, CLOCK.replace(IDENTITY, "NULL"))


def _asked(connection: psycopg.Connection[Any], named: Mapping[str, Any], clock: str) -> list[Facts]:
    version = connection.info.server_version
    (shared,), *found = _answers(connection, (clock, *first_statements(version)), named)
    told = [_facts_of(shared, *of_one) for of_one in zip(*found, named["cursors"], strict=True)]
    traits = Traits.of(told, named["cursors"], recorded=any(named["tombstones"]))
    if statement := second_statement(traits, version):
        (more,) = _answers(connection, (statement,), named)
        told = [first | second for first, second in zip(told, more, strict=True)]
    return told


def _answers(
    connection: psycopg.Connection[Any], statements: Sequence[str], named: Mapping[str, Any]
) -> list[list[Any]]:
    """The single column of each, asked in one message: so the client puts the values into the text."""
    import psycopg

    cursor = psycopg.ClientCursor(connection, row_factory=psycopg.rows.scalar_row)
    cursor.execute("; ".join(statements).encode(), named)
    answers = [cursor.fetchall()]
    while cursor.nextset():
        answers.append(cursor.fetchall())
    return answers


def first_statements(version: int) -> tuple[str, str, str]:
    """What each relation is asked. Of the columns of those that have children or domains, the second statement tells the rest.

    :param version: the server's."""
    columns = without(_COLUMNS, (_CHILD_IS_NULL, ""), (IS_FIXED_TEXT, "false"), (_BASE_TYPE, _NO_BASE_TYPE))
    old = _OLD_IS_NULL.replace("IN (SELECT oid FROM children UNION SELECT a.attrelid)", "= a.attrelid")
    columns = columns.replace(_OLD_IS_NULL, old if version >= OLD_CONSTRAINTS else "")
    return _RELATIONS, f"SELECT {columns} FROM {_ASKED} ORDER BY asked.place", _INDEXES


def second_statement(traits: Traits, version: int) -> str | None:
    """What relations with these traits have to say besides; None where that is nothing."""
    family = traits.has_family
    fires = family or traits.has_triggers
    parts = {
        "standing": STANDING if family or traits.is_subscribed or traits.is_kept_otherwise else None,
        "stamps": STAMPS.replace(SEQUENCES, "NULL") if fires or traits.has_default or traits.is_generated else None,
        "replica_roles": REPLICA_ROLES if fires else None,
        "referring": REFERRING if fires else None,
        "children": _CHILDREN_TOLD if family else None,
        "columns": _COLUMNS if family or traits.has_domains or traits.are_recorded else None,
        "tombstones": _TOMBSTONES if traits.are_recorded else None,
    }
    asked = ", ".join(f"'{name}', {part}" for name, part in parts.items() if part is not None)
    if not asked:
        return None
    unneeded = (
        (family, _TREE, _ALONE),
        (family, _CHILDREN, _CHILDLESS),
        (family, _CHILD_IS_NULL, ""),
        (version >= OLD_CONSTRAINTS, _OLD_IS_NULL, ""),
        (traits.are_recorded, IS_FIXED_TEXT, "false"),
        (traits.has_domains, _BASE_TYPE, _NO_BASE_TYPE),
        (traits.is_subscribed, SUBSCRIPTION, "(SELECT NULL::text AS name)"),
        (family or traits.is_generated, GENERATED, ""),
        (family or traits.has_default, DEFAULTS, NO_DEFAULTS),
        (family or traits.has_default, CALLS, "false"),
        (fires, TRIGGERS, "NULL"),
    )
    left_out = ((piece, instead) for needed, piece, instead in unneeded if not needed)
    return without(_SECOND.replace("{facts}", asked), *left_out)


def without(statement: str, *pieces: tuple[str, str]) -> str:
    """:param pieces: each with what stands in its place."""
    for piece, instead in pieces:
        statement = statement.replace(piece, instead)
    return statement


def _facts_of(
    shared: Facts, relation: Facts | None, columns: list[Facts] | None, indexes: list[Facts] | None, cursor: str
) -> Facts:
    """As far as the first message tells; of a relation that has nothing more to say, that is all."""
    # A view is made anew by whoever changes it, which says nothing of its rows; a query has no identity of its own.
    table = {"table": relation["oid"]} if relation and relation["kind"] in ("r", "p") else {}
    return {
        **shared,
        "identity": shared["identity"] and {**shared["identity"], **table},
        "relation": relation,
        "columns": columns,
        "indexes": [_index(index, columns or []) for index in indexes or ()],
        "standing": relation and [_standing(relation)],
        "stamps": [_stamp(relation, column) for column in columns or () if relation and column["name"] == cursor]
        or None,
        **dict.fromkeys(("replica_roles", "referring", "children", "tombstones")),
    }


def _index(index: Facts, columns: list[Facts]) -> Facts:
    """By the names of its columns; None for what is none, an expression."""
    numbered = {column["number"]: column for column in columns}
    keys = [numbered.get(number) for number in index["keys"][: index["parts"]]]
    compared = zip(keys, index["collations"], strict=True)
    otherwise = any(key and not key["deterministic"] and own != key["collation"] for key, own in compared)
    return {
        "unique": index["unique"],
        "as_columns": index["of_its_type"] and not otherwise,
        "btree": index["btree"],
        "plain": index["plain"],
        "columns": [key and key["name"] for key in keys],
    }


def _standing(relation: Facts) -> Facts:
    """As ``standing.STANDING`` tells it of a relation without children and subscriptions."""
    return {
        "name": f"{relation['schema']}.{relation['name']}",
        "count": 1,
        "kind": relation["kind"],
        "persistence": relation["persistence"],
        "method": "heap",
        "system": relation["system"],
        "subscription": None,
    }


def _stamp(relation: Facts, column: Facts) -> Facts:
    """As ``stamps.STAMPS`` tells it of a column without a default in a relation without triggers."""
    return {
        "table": f"{relation['schema']}.{relation['name']}",
        "column": column["name"],
        "identity": column["identity"],
        "default": column["type_default"],
        "calls": False,
        "sequences": None,
        "triggers": None,
    }
