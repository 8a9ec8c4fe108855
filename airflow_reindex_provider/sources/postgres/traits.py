"""What relations have at all, as far as their survey depends on it: to plan it takes a server longer than to answer it."""

from __future__ import annotations

from dataclasses import dataclass

# What Postgres notes of a relation for itself: it may say that there are children or triggers which are gone, and never that
# there are none where there are some. A foreign key has triggers too, at both of its ends.
TRAITS = """
SELECT coalesce(bool_or(c.relkind = 'p' OR c.relispartition OR c.relhassubclass), false),
       coalesce(bool_or(c.relhastriggers), false),
       coalesce(bool_or(a.atthasdef), false),
       coalesce(bool_or(a.attgenerated <> ''), false),
       coalesce(bool_or(EXISTS (SELECT FROM pg_attribute d JOIN pg_type t ON t.oid = d.atttypid
                                WHERE d.attrelid = c.oid AND d.attnum > 0 AND t.typtype = 'd')), false),
       EXISTS (SELECT FROM pg_subscription_rel)
FROM unnest(%(relations)s::text[], %(cursors)s::text[]) AS asked (relation, cursor)
JOIN pg_class c ON c.oid = to_regclass(asked.relation)
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = asked.cursor
"""


@dataclass(frozen=True, slots=True)
class Traits:
    """The answer to :data:`TRAITS`, of all relations that are asked about together.

    :ivar has_family: partitions, inherited children, or a table that it is a partition of.
    :ivar has_default: of the cursor field, as is ``is_generated``. :ivar has_domains: columns of such types.
    :ivar is_subscribed: a subscription brings rows to some table of the database."""

    has_family: bool
    has_triggers: bool
    has_default: bool
    is_generated: bool
    has_domains: bool
    is_subscribed: bool
