"""How the rows of a relation become visible: by transactions of this very server, which its horizon sees, or in another way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# The relations themselves, and all that inherit from them or are their partitions. ``name`` is the column asked about.
TREE = """
tree(oid, name) AS (
  {roots}
  UNION SELECT i.inhrelid, tree.name FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid
)"""

# Relations that are alike count once, under the first one's name. What a subscription brings to a partitioned table shows
# in its partitions. Not every role may read pg_subscription.
SUBSCRIPTION = """(
     SELECT pg_describe_object('pg_subscription'::regclass, r.srsubid, 0) AS name FROM pg_subscription_rel r
     WHERE r.srrelid = c.oid OR r.srrelid IN (SELECT relid FROM pg_partition_ancestors(c.oid)) ORDER BY 1 LIMIT 1)"""

STANDING = f"""
(SELECT json_agg(s ORDER BY s.name) FROM (
   SELECT min(n.nspname || '.' || c.relname) AS name, count(*) AS count, c.relkind AS kind, c.relpersistence AS persistence,
          coalesce(m.amname, 'heap') AS method, c.oid < 16384 AS system, f.name AS subscription
   FROM (SELECT DISTINCT oid FROM tree) AS t
   JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_am m ON m.oid = c.relam
   LEFT JOIN LATERAL {SUBSCRIPTION} AS f ON true
   GROUP BY 3, 4, 5, 6, 7) AS s)"""

# A subscription's own origin is named after its number.
ORIGINS = "(SELECT json_agg(roname ORDER BY roname) FROM pg_replication_origin WHERE roname !~ '^pg_[0-9]+(_|$)')"


@dataclass(frozen=True, slots=True)
class Kind:
    """:ivar readable: whether it can be a source at all.
    :ivar keeps_keys: whether a unique index of it can promise that a key stands for one row.
    :ivar otherwise: how its rows become visible, if not by transactions of this server; what to do instead; and what a lag
        has to cover."""

    readable: bool = True
    keeps_keys: bool = False
    otherwise: tuple[str, str, str] | None = None


RELATION_KINDS: Mapping[str, Kind] = {
    "r": Kind(keeps_keys=True),
    "p": Kind(keeps_keys=True),
    # What it reads is what counts: see shape.py.
    "v": Kind(),
    "m": Kind(
        otherwise=(
            "is a materialized view, whose rows appear when it is refreshed, with older stamps",
            "Read what it is made of",
            "the longest time from one refresh to the end of the next",
        )
    ),
    "f": Kind(
        otherwise=(
            "is a foreign table, whose rows appear by transactions of another server, which this one does not see",
            "Point the connection at that server",
            "the longest transaction there, and the greatest difference of the clocks",
        )
    ),
    "S": Kind(readable=False),
    "i": Kind(readable=False),
    "I": Kind(readable=False),
    "t": Kind(readable=False),
    "c": Kind(readable=False),
}
"""By pg_class.relkind. One that is not here is refused."""

PERSISTENCE: Mapping[str, tuple[str, str, str] | None] = {
    "p": None,
    # A crash empties it, and that is said as a warning: no row appears late by it.
    "u": None,
    "t": ("is a temporary table, which its own session alone can read", "Name a table that stays", ""),
}
"""By pg_class.relpersistence."""

ACCESS_METHODS = frozenset({"heap"})
"""By pg_am.amname: those that show a row when its transaction has committed."""


def hindrances(members: list[dict[str, Any]] | None) -> Iterator[tuple[str, str, str]]:
    """Of the relations that a source reads: what is not shown by transactions of this server, what to do instead, and what
    a lag would have to cover."""
    for member in members or ():
        found = _hindrance(member)
        if found:
            more = f" (and {member['count'] - 1} more like it)" if member["count"] > 1 else ""
            yield f"{member['name']}{more} {found[0]}", found[1], found[2]


def _hindrance(member: dict[str, Any]) -> tuple[str, str, str] | None:
    kind, persistence, method = member["kind"], member["persistence"], member["method"]
    if member["system"]:
        return "belongs to Postgres itself, and no transaction stamps its rows", "Read a table of your own", ""
    if kind not in RELATION_KINDS:
        return f"is a relation of a kind that is on no list (relkind {kind!r})", "Read a table", ""
    if otherwise := RELATION_KINDS[kind].otherwise:
        return otherwise
    if persistence not in PERSISTENCE:
        return f"is a relation of a kind that is on no list (relpersistence {persistence!r})", "Read a table", ""
    if lost := PERSISTENCE[persistence]:
        return lost
    if method not in ACCESS_METHODS:
        return (
            f"is kept by the table access method {method!r}, of which nobody has said when its rows become visible",
            "Read a table that is kept as heap",
            "",
        )
    if subscription := member["subscription"]:
        return (
            f"is filled by the {subscription}, whose rows come with the stamps of another server",
            "Read them there",
            "how far the subscription may fall behind, the longest transaction there, and the difference of the clocks",
        )
    return None


def unlogged(members: list[dict[str, Any]] | None) -> str | None:
    """Name of a relation that a crash empties."""
    return next((m["name"] for m in members or () if m["persistence"] == "u"), None)
