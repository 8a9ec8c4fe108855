"""What a view or a query reads, by the server's own plan of it: whether each of its rows is one row of a table, which carries
its cursor. Only then does no other row's late commit change or show it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from airflow_reindex_provider.databases.postgres.transactions import transaction

# The plan must name all that may be read, not what is left over for today's bounds, and have no parts that only speed it up.
_SETTINGS = {"enable_partition_pruning": "off", "constraint_exclusion": "off", "max_parallel_workers_per_gather": "0"}

LEAVES = frozenset(
    {"Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Heap Scan", "Tid Scan", "Tid Range Scan", "Foreign Scan"}
)
PASSING = frozenset({"Append", "Merge Append", "Sort", "Incremental Sort", "Materialize", "Result", "ProjectSet"})
"""Nodes that hand on the rows of those below them, column for column."""
INDEXES = frozenset({"Bitmap Index Scan", "BitmapAnd", "BitmapOr"})
_WHY = {
    **dict.fromkeys(("Nested Loop", "Merge Join", "Hash Join", "Hash", "Memoize"), "joins relations"),
    **dict.fromkeys(("Aggregate", "Group", "WindowAgg", "Unique", "SetOp"), "makes one row of several"),
    "Limit": "ends after a number of rows",
    "Sample Scan": "reads a sample",
    "Function Scan": "reads the result of a function",
    "Table Function Scan": "reads the result of a function",
    "Values Scan": "reads rows that are in no table",
    "Subquery Scan": "computes columns from those of a subquery",
    **dict.fromkeys(("CTE Scan", "WorkTable Scan", "Recursive Union"), "reads the result of a WITH"),
}
"""What a plan's other nodes are there for; one that is on no list here is not known to be safe either."""

_NAME = r'("(?:[^"]|"")+"|[^\s".(),]+)'
_COLUMN = re.compile(rf"{_NAME}\.{_NAME}")
_FIRST_OF = re.compile(rf"(?:COALESCE|GREATEST)\(({_COLUMN.pattern}(?:, {_COLUMN.pattern})*)\)")
_CALL = re.compile(rf"{_NAME}\(")
_CONDITIONS = ("Filter", "Index Cond", "Recheck Cond", "TID Cond", "One-Time Filter")
CLOCK = re.compile(
    r"\b(now\(|(statement|transaction|clock)_timestamp\(|timeofday\(|current_(timestamp|date|time)\b|local(timestamp|time)\b)"
    r"|'(now|today|tomorrow|yesterday)'",
    re.IGNORECASE,
)
"""What in an expression's text takes the database's clock."""


@dataclass(frozen=True, slots=True)
class Shape:
    """:ivar relations: schema and name of all that is read.
    :ivar stamps: schema, name and column that the cursor comes from; empty where that cannot be shown.
    :ivar doubt: why it cannot be shown that late commits are seen, as a verb with what goes with it.
    :ivar asks_time: a condition that hangs on the time of reading. :ivar shows_time: a column that does.
    :ivar calls: names of what looks like functions in it, without their schemas."""

    relations: tuple[tuple[str, str], ...]
    stamps: tuple[tuple[str, str, str], ...]
    doubt: str | None
    asks_time: str | None
    shows_time: str | None
    calls: tuple[str, ...]


def read_shape(
    connection: psycopg.Connection[Any], body: sql.Composable, columns: Sequence[str] | None, place: int
) -> Shape:
    """:param body: what stands after FROM. :param columns: what is read of it; None for all. :param place: of the cursor among
    these."""
    names = sql.SQL(", ").join(sql.Identifier("r", name) for name in columns or ())
    chosen: sql.Composable = names if columns else sql.SQL("*")
    statement = sql.SQL("EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) SELECT {} FROM {}").format(chosen, body)
    with transaction(connection):
        calls = sql.SQL(", ").join(
            sql.SQL("set_config({}, {}, true)").format(sql.Literal(n), sql.Literal(v)) for n, v in _SETTINGS.items()
        )
        connection.execute(sql.SQL("SELECT {}").format(calls))
        row = connection.execute(statement).fetchone()
    assert row is not None
    root = row[0][0]["Plan"]
    nodes = list(_nodes(root))
    relations = dict.fromkeys((n["Schema"], n["Relation Name"]) for n in nodes if "Relation Name" in n)
    stamps: dict[tuple[str, str, str], None] = {}
    doubt = _doubt(nodes)
    if doubt is None:
        doubt = _follow(root, place, stamps)
    conditions = [text for n in nodes for text in (n.get(c) for c in _CONDITIONS) if text]
    asks_time = next((text for text in conditions if CLOCK.search(text)), None)
    computed = [text for n in nodes for text in n.get("Output", ())]
    shows_time = next((text for text in computed if CLOCK.search(text)), None)
    called = {_plain(name) for text in (*conditions, *computed) for name in _CALL.findall(text)}
    return Shape(tuple(relations), () if doubt else tuple(stamps), doubt, asks_time, shows_time, tuple(sorted(called)))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from _nodes(below)


def _doubt(nodes: list[dict[str, Any]]) -> str | None:
    for node in nodes:
        kind = node["Node Type"]
        if node.get("Parent Relationship") in ("InitPlan", "SubPlan") and not node.get("Subplan Name", "").startswith(
            "CTE"
        ):
            return "reads other rows in a subquery"
        if function := node.get("Function Name"):
            return f"{_WHY['Function Scan']}, {node.get('Schema', 'pg_catalog')}.{function}()"
        if kind in _WHY:
            return _WHY[kind]
        if kind == "Result" and "Plans" not in node:
            return "gives rows that are in no table"
        if kind in LEAVES and "Relation Name" not in node:
            return "joins relations on another server"
        if kind not in LEAVES | PASSING | INDEXES:
            return f"is planned with a {kind}, which is on no list"
    return None


def _follow(node: dict[str, Any], place: int, stamps: dict[tuple[str, str, str], None]) -> str | None:
    """Down to the tables' own columns; says why it does not get there."""
    text = node["Output"][place] if place < len(node.get("Output", ())) else ""
    if node["Node Type"] in PASSING:
        leaves = [n for n in _nodes(node) if n["Node Type"] in LEAVES]
        # These two may hand on columns in another order than they get them.
        if node["Node Type"] not in ("Result", "ProjectSet") or len(leaves) != 1:
            return next((why for n in node["Plans"] if (why := _follow(n, place, stamps))), None)
        (node,) = leaves
    columns = _columns(text)
    if not columns or any(alias != node["Alias"] for alias, _ in columns):
        return f"computes its cursor field as {text}"
    stamps.update(dict.fromkeys((node["Schema"], node["Relation Name"], column) for _, column in columns))
    return None


def _columns(text: str) -> list[tuple[str, str]]:
    """Alias and name, where the text is a column, or the first or greatest of several."""
    found = _FIRST_OF.fullmatch(text)
    parts = _COLUMN.findall(found[1]) if found else [m.groups() for m in [_COLUMN.fullmatch(text)] if m]
    return [(_plain(alias), _plain(column)) for alias, column in parts]


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
