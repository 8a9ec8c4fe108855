"""The SQL of documents that are made of several tables: which of them a window touches, and how they are read.

What they are joined from is in ``joining.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from psycopg import sql

from airflow_reindex_provider.core.model import Position, Window
from airflow_reindex_provider.databases.postgres.names import comma
from airflow_reindex_provider.sources.postgres.joining import Node
from airflow_reindex_provider.sources.postgres.sql import Relation

Bound = Position | sql.Composable | None
"""Of cursor values: from a place on, and up to but without it; or as SQL, after a value, and up to it."""

LATEST = "reindex_latest"
"""Column of a composed relation: the document's version, as a value of the cursor's type."""


@dataclass(frozen=True, slots=True)
class Composition:
    """Of the documents of a table with the key's columns. ``root`` and its ``stones`` are the tables of its rows and of the keys
    of those that were deleted."""

    key: tuple[str, ...]
    cursor_field: str
    cursor_type: sql.Composable
    root: sql.Identifier
    root_name: str
    stones: sql.Identifier | None
    nodes: tuple[Node, ...]
    version: str
    """Of a cursor value ``{c}``, as an integer."""
    nullable: bool
    """Whether a row may have no cursor value; its document has none either, and is in no window."""

    def of(self, relation: Relation, *, stones: str | None) -> Relation:
        """The rows with their parts as columns. :param stones: the column that tells tombstones from rows, if there are any."""
        cursor = sql.Identifier("r", self.cursor_field)
        latest: sql.Composable = sql.SQL("greatest({})").format(
            comma([cursor, *(at for node in self.nodes for at in node.latest)])
        )
        if self.nullable:
            latest = sql.SQL("CASE WHEN {} IS NOT NULL THEN {} END").format(cursor, latest)
        if stones is not None:
            # What still refers to a row that is gone is no part of any document.
            latest = sql.SQL("CASE WHEN {} THEN {} ELSE {} END").format(sql.Identifier("r", stones), cursor, latest)
        values = [sql.SQL("{} AS {}").format(n.value, sql.Identifier(n.part.name)) for n in self.nodes]
        body = sql.SQL("(SELECT r.*, {}, {} AS {} FROM {} {}) AS r").format(
            comma(values),
            latest,
            sql.Identifier(LATEST),
            relation.body,
            sql.SQL(" ").join(node.lateral("r") for node in self.nodes),
        )
        known = sql.Identifier("r", LATEST)
        return replace(
            relation,
            body=body,
            latest=known,
            version=sql.SQL(self.version).format(c=known),
            composed=frozenset(node.part.name for node in self.nodes),
        )

    # -- windows

    def within(self, relation: Relation, window: Window, *, stones: str | None, rows: Window | None = None) -> Relation:
        """The documents of a relation's rows whose version lies in the window; else like :meth:`of`.

        :param rows: where the rows themselves lie, where these are but a part of those that the window touches."""
        latest = sql.Identifier("r", LATEST)
        bounds = [sql.SQL("{} < {}").format(latest, self._value(window.end.cursor))]
        if window.start is not None:
            bounds.append(sql.SQL("{} >= {}").format(latest, self._value(window.start.cursor)))
            touched = (
                self._touched_rows(relation, window) if rows is None else self._touched_among(relation, window, rows)
            )
            relation = replace(relation, body=touched)
        return self.of(relation, stones=stones).where(sql.SQL(" AND ").join(bounds))

    # What a window touches is found first, whatever the planner thinks of it: with more parts than join_collapse_limit, or
    # statistics from before the changes, it would make every document and look then. OFFSET 0 is a wall to it.

    def _touched_rows(self, relation: Relation, window: Window) -> sql.Composed:
        """Looked up by their keys."""
        names = [sql.Identifier("t", f"k{n}") for n in range(len(self.key))]
        return sql.SQL(
            "(SELECT r.* FROM ({keys}) AS t ({columns})"
            " CROSS JOIN LATERAL (SELECT * FROM {body} WHERE {same} OFFSET 0) AS r) AS r"
        ).format(
            keys=self._keys(window.start, window.end),
            columns=comma(sql.Identifier(f"k{n}") for n in range(len(self.key))),
            body=relation.body,
            same=sql.SQL(" AND ").join(
                sql.SQL("{} = {}").format(a, b) for a, b in zip(relation.key, names, strict=True)
            ),
        )

    def _touched_among(self, relation: Relation, window: Window, rows: Window) -> sql.Composed:
        """In their order, from among others: a look-up of all that the window touches would be one for each batch."""
        return sql.SQL("(SELECT * FROM {} WHERE {} AND {} ORDER BY {} OFFSET 0) AS r").format(
            relation.body,
            relation.within(rows),
            self.touched(relation, window.start, window.end),
            relation.order(),
        )

    def touched(self, relation: Relation, start: Bound, end: Bound = None) -> sql.Composed:
        """As a condition on a row: something of its document has a cursor value between these."""
        return sql.SQL("({}) IN ({})").format(comma(relation.key), self._keys(start, end))

    def _keys(self, start: Bound, end: Bound) -> sql.Composed:
        return sql.SQL(" UNION ").join(keys for _, keys in self._owners(start, end))

    def tables(self, window: Window) -> sql.Composed:
        """Each table's name, and how many documents something in it touches. A row of another table may belong to none."""
        names = [sql.Identifier(f"k{n}") for n in range(len(self.key))]
        parts = [
            sql.SQL("SELECT {}, {} FROM ({}) AS s ({})").format(sql.Literal(name), comma(names), keys, comma(names))
            for name, keys in self._owners(window.start, window.end)
        ]
        same = (
            sql.SQL("{} = {}").format(sql.Identifier("t", column), sql.Identifier("s", f"k{n}"))
            for n, column in enumerate(self.key)
        )
        return sql.SQL(
            "SELECT name, count(*) FROM ({parts}) AS s (name, {names})"
            " WHERE name = {root_name} OR EXISTS (SELECT FROM {root} AS t WHERE {same}) GROUP BY 1 ORDER BY 1"
        ).format(
            parts=sql.SQL(" UNION ").join(parts),
            names=comma(names),
            root_name=sql.Literal(self.root_name),
            root=self.root,
            same=sql.SQL(" AND ").join(same),
        )

    def exists(self, window: Window) -> sql.Composed:
        """One look at each table."""
        tables = self._changing()
        return sql.SQL("SELECT {}").format(
            sql.SQL(" OR ").join(
                sql.SQL("EXISTS (SELECT FROM {} AS s WHERE {})").format(
                    table, self._between("s", cursor, window.start, window.end)
                )
                for table, cursor in tables
            )
        )

    def oldest(self, start: Bound, end: Bound) -> sql.Composed:
        """The least cursor value between these in any table, as text."""
        parts = [
            sql.SQL("(SELECT s.{0} AS at FROM {1} AS s WHERE {2} ORDER BY s.{0} LIMIT 1)").format(
                sql.Identifier(cursor), table, self._between("s", cursor, start, end)
            )
            for table, cursor in self._changing()
        ]
        return sql.SQL("(SELECT min(at)::text FROM ({}) AS s)").format(sql.SQL(" UNION ALL ").join(parts))

    def _changing(self) -> list[tuple[sql.Composable, str]]:
        """Every table that is looked at, with its cursor field."""
        found: list[tuple[sql.Composable, str]] = [(self.root, self.cursor_field)]
        if self.stones is not None:
            found.append((self.stones, self.cursor_field))
        for top in self.nodes:
            for node in top.walk():
                found.append((node.table, node.part.cursor_field))
                if node.losses is not None:
                    found.append((node.losses, node.part.cursor_field))
        return found

    def _owners(self, start: Bound, end: Bound) -> Iterator[tuple[str, sql.Composed]]:
        """Of each table, its name and the keys of the documents that something in it belongs to, by way of what owns it."""
        for table in (self.root, self.stones):
            if table is not None:
                yield (
                    self.root_name,
                    sql.SQL("SELECT {} FROM {} AS t WHERE {}").format(
                        self._names("t", self.key), table, self._between("t", self.cursor_field, start, end)
                    ),
                )
        for top in self.nodes:
            yield from self._owners_by(top, (), start, end)

    def _owners_by(
        self, node: Node, above: tuple[Node, ...], start: Bound, end: Bound
    ) -> Iterator[tuple[str, sql.Composed]]:
        for table in (node.table, node.losses):
            if table is None:
                continue
            steps = sql.SQL("{} AS {}").format(table, sql.Identifier(node.row))
            below = node
            for owner in reversed(above):
                steps += sql.SQL(" JOIN {} AS {} ON {}").format(
                    owner.table, sql.Identifier(owner.row), below.same(below.row, owner.row)
                )
                below = owner
            keys = self._names(below.row, below.part.on)
            if below.part.to != self.key:
                steps += sql.SQL(" JOIN {} AS t ON {}").format(self.root, below.same(below.row, "t"))
                keys = self._names("t", self.key)
            yield (
                node.part.table,
                sql.SQL("SELECT {} FROM {} WHERE {}").format(
                    keys, steps, self._between(node.row, node.part.cursor_field, start, end)
                ),
            )
        for inner in node.nodes:
            yield from self._owners_by(inner, (*above, node), start, end)

    def _between(self, row: str, cursor: str, start: Bound, end: Bound) -> sql.Composed:
        column = sql.Identifier(row, cursor)
        bounds = [
            sql.SQL("{} " + operators[isinstance(at, Position)] + " {}").format(
                column, self._value(at.cursor) if isinstance(at, Position) else at
            )
            for at, operators in ((start, (">", ">=")), (end, ("<=", "<")))
            if at is not None
        ]
        return sql.SQL(" AND ").join(bounds or [sql.SQL("{} IS NOT NULL").format(column)])

    def _value(self, cursor: str) -> sql.Composed:
        return sql.SQL("{}::{}").format(sql.Literal(cursor), self.cursor_type)

    @staticmethod
    def _names(row: str, columns: Sequence[str]) -> sql.Composed:
        return comma(sql.Identifier(row, name) for name in columns)
