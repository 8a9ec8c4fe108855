"""What Postgres says of tables, and of the transactions that are open: one statement, no row of a table read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.databases.postgres.types import IS_FIXED_TEXT, has_one_text
from airflow_reindex_provider.sources.postgres.activity import ACTIVITY, PREPARED
from airflow_reindex_provider.sources.postgres.identity import IDENTITY, UNTOLD
from airflow_reindex_provider.sources.postgres.shape import Shape
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
from airflow_reindex_provider.sources.postgres.standing import (
    ORIGINS,
    RELATION_KINDS,
    STANDING,
    SUBSCRIPTION,
    TREE,
)
from airflow_reindex_provider.sources.postgres.traits import TRAITS, Traits

if TYPE_CHECKING:
    import psycopg

# Or two rows may have values that are equal to their column: an index compares in its own collation, and by its operator class.
_SAME_EQUALITY = """NOT EXISTS (
                  SELECT FROM unnest(i.indkey, i.indcollation, i.indclass) WITH ORDINALITY AS k(attnum, coll, class, place)
                  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                  JOIN pg_opclass o ON o.oid = k.class LEFT JOIN pg_collation c ON c.oid = a.attcollation
                  WHERE k.place <= i.indnkeyatts
                  AND (c.collisdeterministic IS FALSE AND k.coll <> a.attcollation
                       OR NOT (o.opcdefault OR o.opcname LIKE '%%pattern_ops')))"""

# Of ``r``, a relation.
_INDEXES = f"""(SELECT json_agg(json_build_object(
                'unique', i.indisunique AND i.indimmediate, 'as_columns', {_SAME_EQUALITY},
                'method', m.amname, 'plain', i.indoption::text !~ '[^0 ]',
                'columns', (SELECT json_agg(a.attname ORDER BY k.place)
                            FROM unnest(i.indkey) WITH ORDINALITY AS k(attnum, place)
                            LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                            WHERE k.place <= i.indnkeyatts)))
              FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
              WHERE i.indrelid = r.oid AND i.indisvalid AND i.indpred IS NULL)"""

_TREE = TREE.format(roots="SELECT to_regclass(asked.relation)::oid, asked.cursor::name")

_CHILDREN = """
  SELECT c.oid, n.nspname || '.' || c.relname AS name, ARRAY[n.nspname, c.relname] AS path, c.relkind
  FROM tree JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.oid <> to_regclass(asked.relation) AND (NOT c.relispartition OR c.relkind NOT IN ('r', 'p'))"""

# An inherited child may do without.
_CHILD_IS_NULL = """
                AND NOT EXISTS (SELECT FROM children c JOIN pg_attribute i ON i.attrelid = c.oid AND i.attname = a.attname
                                WHERE NOT i.attnotnull)"""

# Since PostgreSQL 18 a constraint need not hold for rows from before it.
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

_TOMBSTONES = """
  CASE WHEN asked.tombstones IS NOT NULL THEN json_build_object(
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

# now() is taken before the view is scanned, so a transaction that begins meanwhile begins after it. The margin covers
# the instant between a backend's taking its timestamp and publishing it. Times without a zone go back when a clock does:
# the least local time of the next three hours, in steps that every zone's changes fall on, is a bound in any zone.
# To plan it takes a server longer than to execute it, so all tables of a source are asked about at once, and not about what
# none of them has: see needed().
SURVEY = f"""
SELECT told.facts FROM unnest(%(relations)s::text[], %(cursors)s::text[], %(tombstones)s::text[])
WITH ORDINALITY AS asked (relation, cursor, tombstones, place), LATERAL (
WITH RECURSIVE {ACTIVITY},
{_TREE},
children AS ({_CHILDREN}
),
indexed AS (
  SELECT oid, {_INDEXES} AS indexes
  FROM (SELECT to_regclass(asked.relation)::oid UNION SELECT oid FROM children
        UNION SELECT to_regclass(asked.tombstones)::oid) AS r (oid)
),
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
  'relation', (SELECT json_build_object('schema', n.nspname, 'kind', c.relkind)
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(asked.relation)),
  'standing', {STANDING},
  'stamps', {STAMPS.replace(SEQUENCES, "NULL")},
  'replica_roles', {REPLICA_ROLES},
  'referring', {REFERRING},
  'origins', {ORIGINS},
  'children', (SELECT json_agg(json_build_object(
                 'name', child.name, 'path', child.path, 'kind', child.relkind,
                 'indexes', (SELECT indexes FROM indexed WHERE oid = child.oid)) ORDER BY child.name)
               FROM children AS child),
  'columns', (SELECT json_agg(json_build_object(
                'name', a.attname, 'not_null', a.attnotnull{_CHILD_IS_NULL}{_OLD_IS_NULL},
                'kind', t.typtype, 'builtin', t.typnamespace = 'pg_catalog'::regnamespace,
                'generated', a.attgenerated, 'base', b.type, 'base_kind', b.kind, 'fixed_text', {IS_FIXED_TEXT},
                'deterministic', (SELECT c.collisdeterministic FROM pg_collation c WHERE c.oid = a.attcollation) IS NOT FALSE,
                'type', format_type(a.atttypid, NULL), 'declared', format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum)
              FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN LATERAL {_BASE_TYPE} AS b ON true
              WHERE a.attrelid = to_regclass(asked.relation) AND a.attnum > 0 AND NOT a.attisdropped),
  'indexes', (SELECT indexes FROM indexed WHERE oid = to_regclass(asked.relation)),
  'tombstones', {_TOMBSTONES},
  'identity', {IDENTITY},
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
  'now', now, 'now_local', now_local::text, 'now_date', now_local::date::text
) FROM bounds
) AS told (facts) ORDER BY asked.place
"""

_MEMBERS = f"""
WITH RECURSIVE {
    TREE.format(
        roots="SELECT c.oid, m.name FROM unnest(%(schemas)s::name[], %(relations)s::name[], %(columns)s::name[])"
        " AS m(schema, relation, name) JOIN pg_namespace n ON n.nspname = m.schema"
        " JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = m.relation"
    )
}
SELECT json_build_object('standing', {STANDING}, 'stamps', {STAMPS}, 'functions', (
  SELECT json_agg(DISTINCT n.nspname || '.' || p.proname) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  WHERE p.proname = ANY (%(functions)s::name[]) AND n.nspname <> 'information_schema'
    AND CASE n.nspname WHEN 'pg_catalog' THEN p.provolatile = 'v' AND p.proname NOT IN ('clock_timestamp', 'timeofday')
                       ELSE p.provolatile <> 'i' END))
"""


TYPE_KINDS = frozenset("bcdemrp")
"""pg_type.typtype: base, composite, domain, enum, multirange, range; and pseudo-types, such as a query's record."""
GENERATED_KINDS = frozenset({"", "s", "v"})
"""pg_attribute.attgenerated: what is computed from the row's other columns is as they are, stored or not."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the catalogue has it. ``base`` and ``base_kind`` are of a domain's type.

    :ivar kind: pg_type.typtype. :ivar generated: pg_attribute.attgenerated. :ivar deterministic: of its collation.
    :ivar fixed_text: whether its text can be indexed.
    """

    name: str
    not_null: bool
    kind: str
    builtin: bool
    type: str
    declared: str
    base: str | None = None
    base_kind: str | None = None
    generated: str = ""
    fixed_text: bool = False
    deterministic: bool = True

    @property
    def is_known(self) -> bool:
        """Whether it is of a kind that somebody has decided on."""
        return self.own_kind in TYPE_KINDS and self.generated in GENERATED_KINDS

    @property
    def own_type(self) -> str:
        """The type whose values it has: a domain adds conditions to another's."""
        return self.base or self.type

    @property
    def has_one_text(self) -> bool:
        """Whether its equal values are written the same (``core.keys``)."""
        return self.own_kind == "e" or (self.deterministic and has_one_text(self.base or self.declared))

    @property
    def own_kind(self) -> str:
        return self.base_kind or self.kind


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The answer to :data:`SURVEY`, with times as text."""

    kind: str | None
    columns: tuple[Column, ...]
    indexes: tuple[dict[str, Any], ...]
    children: tuple[dict[str, Any], ...]
    """All that an index of the relation does not reach: inherited children, and partitions of another server."""
    facts: dict[str, Any]

    @property
    def named_children(self) -> str:
        """The first of them, for a message."""
        names = [child["name"] for child in self.children]
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

    @property
    def keeps_keys(self) -> bool:
        """Whether a unique index can promise that a key stands for one row."""
        return self.kind is not None and RELATION_KINDS[self.kind].keeps_keys and not self.children

    @property
    def is_view(self) -> bool:
        """Whether its rows are made of those of others, as a query's are."""
        return self.kind is None or self.kind == "v"

    @property
    def alone(self) -> Catalogue:
        """The relation without its children."""
        return replace(self, children=())

    @property
    def tombstone_indexes(self) -> Catalogue:
        """The same questions about the indexes of the tombstones' table."""
        return replace(self.alone, indexes=tuple(self.facts["tombstones"]["indexes"] or ()))

    def column(self, name: str) -> Column | None:
        return next((c for c in self.columns if c.name == name), None)

    def has_index_on(self, columns: tuple[str, ...]) -> bool:
        """Whether a whole-table btree begins with exactly these columns, in this order, ascending; of each child too."""
        own = (self.indexes, *(child["indexes"] for child in self.children))
        return all(_serves(indexes, columns) for indexes in own)

    def children_without_index(self, columns: tuple[str, ...]) -> list[list[str]]:
        """Schema and name of each child that could have one."""
        return [c["path"] for c in self.children if c["kind"] != "f" and not _serves(c["indexes"], columns)]

    def is_unique(self, columns: tuple[str, ...]) -> bool:
        """Whether a unique index covers some of the columns and nothing else, so that all together are unique."""
        return any(
            i["unique"] and i["as_columns"] and None not in i["columns"] and set(i["columns"]) <= set(columns)
            for i in self.indexes
        )


def _serves(indexes: Iterable[dict[str, Any]] | None, columns: tuple[str, ...]) -> bool:
    return any(
        i["method"] == "btree" and i["plain"] and tuple(i["columns"][: len(columns)]) == columns for i in indexes or ()
    )


def read_catalogues(
    connection: psycopg.Connection[Any],
    asked: Sequence[tuple[str | None, str, str | None]],
    *,
    lag: Any,
    margin: Any,
    zone: str,
) -> list[Catalogue]:
    """One for each relation in ``asked``: its quoted name, or None for a query, which has no catalogue of its own; its cursor
    column; and the quoted name of its tombstones' table, where it has some."""
    relations, cursors, tombstones = (list(part) for part in zip(*asked, strict=True))
    named = {
        "relations": relations,
        "cursors": cursors,
        "tombstones": tombstones,
        "lag": lag,
        "margin": margin,
        "zone": zone,
    }
    try:
        return _surveyed(connection, SURVEY, named)
    except UNTOLD:
        return _surveyed(connection, SURVEY.replace(IDENTITY, "NULL"), named)


def _surveyed(connection: psycopg.Connection[Any], survey: str, named: dict[str, Any]) -> list[Catalogue]:
    from airflow_reindex_provider.databases.postgres.transactions import transaction

    with transaction(connection):
        row = connection.execute(TRAITS, named).fetchone()
        assert row is not None
        traits = Traits(*row)
        kept = needed(survey, traits, recorded=any(named["tombstones"]), version=connection.info.server_version)
        rows = connection.execute(kept, named).fetchall()
    return [_catalogue(facts) for (facts,) in rows]


def needed(survey: str, traits: Traits, *, recorded: bool, version: int) -> str:
    """The survey without what says nothing of relations with these traits. :param recorded: one of them has tombstones."""
    family, fires = traits.has_family, traits.has_family or traits.has_triggers
    nobody = 'SELECT NULL::oid AS oid, NULL::text AS name, NULL::text[] AS path, NULL::"char" AS relkind WHERE false'
    for is_needed, piece, instead in (
        (recorded, _TOMBSTONES, "NULL"),
        (recorded, IS_FIXED_TEXT, "false"),
        (family, _TREE, "tree(oid, name) AS (SELECT to_regclass(asked.relation)::oid, asked.cursor::name)"),
        (family, _CHILDREN, nobody),
        (family, _CHILD_IS_NULL, ""),
        (version >= 180_000, _OLD_IS_NULL, ""),
        (traits.has_domains, _BASE_TYPE, "(SELECT NULL AS type, NULL AS kind)"),
        (traits.is_subscribed, SUBSCRIPTION, "(SELECT NULL::text AS name)"),
        (family or traits.is_generated, GENERATED, ""),
        (family or traits.has_default, DEFAULTS, NO_DEFAULTS),
        (family or traits.has_default, CALLS, "false"),
        (fires, TRIGGERS, "NULL"),
        (fires, REPLICA_ROLES, "NULL"),
        (fires, REFERRING, "NULL"),
    ):
        if not is_needed:
            survey = survey.replace(piece, instead)
    return survey


def _catalogue(facts: dict[str, Any]) -> Catalogue:
    found = facts["relation"]
    return Catalogue(
        kind=found["kind"] if found else None,
        columns=tuple(Column(**c) for c in facts["columns"] or ()),
        indexes=tuple(facts["indexes"] or ()),
        children=tuple(facts["children"] or ()),
        facts=facts,
    )


def read_members(connection: psycopg.Connection[Any], shape: Shape) -> dict[str, Any]:
    """The facts ``standing`` and ``stamps`` of the tables that a view or a query reads, and ``functions``: those that it calls
    and whose answers may change while the row does not."""
    stamped = {stamp[:2] for stamp in shape.stamps}
    asked = [*shape.stamps, *((*relation, "") for relation in shape.relations if relation not in stamped)]
    schemas, relations, columns = (list(part) for part in zip(*asked, strict=True)) if asked else ([], [], [])
    named = {"schemas": schemas, "relations": relations, "columns": columns, "functions": list(shape.calls)}
    row = connection.execute(_MEMBERS, named).fetchone()
    assert row is not None
    facts: dict[str, Any] = row[0]
    return facts
