"""The SQL of documents that are made of several tables: what each row is joined with, and which rows a window touches.

Every part of a row is a ``LATERAL`` subquery that an index on the columns that join it serves. It gives the part's value and the
greatest cursor value in it, from one reading of its rows and in the snapshot of the whole statement; where only the latter is
wanted, Postgres leaves the value out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from psycopg import sql

from airflow_reindex_provider.core.model import Position, Window
from airflow_reindex_provider.sources.postgres.sql import Relation
from airflow_reindex_provider.sources.sql.parts import Part

Bound = Position | sql.Composable | None
"""Of cursor values: from a place on, and up to but without it; or as SQL, after a value, and up to it."""

LATEST = "reindex_latest"
"""Column of a composed relation: the document's version, as a value of the cursor's type."""
LIMIT_MARK = "reindex_limit"
"""Begins what Postgres says of a list that is longer than its author allows."""


ALL = sql.SQL("true")
"""Of a part: each of its rows is shown."""


@dataclass(frozen=True, slots=True)
class Node:
    """A part with what the catalogue makes of it.

    :ivar number: of its own, by which it is called in statements. :ivar values: of each column of an object, as something that
        becomes JSON as it should, of a row ``{c}``. :ivar losses: the table; None where there are none."""

    number: int
    part: Part
    table: sql.Composable
    losses: sql.Identifier | None
    values: tuple[tuple[str, sql.Composable], ...]
    nodes: tuple[Node, ...]
    shown: sql.Composable

    @property
    def row(self) -> str:
        return f"c{self.number}"

    @property
    def cursor(self) -> sql.Identifier:
        return sql.Identifier(self.row, self.part.cursor_field)

    def walk(self) -> Iterator[Node]:
        yield self
        for node in self.nodes:
            yield from node.walk()

    # -- joined to its owner

    def lateral(self, owner: str) -> sql.Composed:
        """What stands after the owner's row ``owner`` in a FROM: ``p<number>`` with value, latest, and n rows."""
        return self._list(owner) if self.part.many else self._object(owner)

    @property
    def value(self) -> sql.Identifier:
        return sql.Identifier(f"p{self.number}", "value")

    @property
    def latest(self) -> list[sql.Composable]:
        own: list[sql.Composable] = [sql.Identifier(f"p{self.number}", "latest")]
        if self.losses is not None and not self.part.many:
            own.append(sql.Identifier(f"l{self.number}", "latest"))
        return own

    def _object(self, owner: str) -> sql.Composed:
        order = [
            sql.SQL(", {} AS {}").format(sql.Identifier(self.row, name), sql.Identifier(f"o{n}"))
            for n, name in enumerate(self.part.order_by)
        ]
        found = sql.SQL(
            "LEFT JOIN LATERAL (SELECT CASE WHEN {shown} THEN to_jsonb(x.*) END AS value, {latest} AS latest, {count} AS n{order}"
            " FROM {row} WHERE {same}) AS {p} ON true"
        ).format(
            shown=self.shown,
            latest=self._latest_of_row(),
            count=self._rows_below(),
            order=sql.Composed(order),
            row=self._row(),
            same=self.same(self.row, owner),
            p=sql.Identifier(f"p{self.number}"),
        )
        if self.losses is None:
            return found
        return found + sql.SQL(" CROSS JOIN LATERAL ({}) AS {}").format(
            self._latest_loss(owner), sql.Identifier(f"l{self.number}")
        )

    def _list(self, owner: str) -> sql.Composed:
        part = self.part
        inner = self.nodes[0] if part.is_join else None
        order = [
            sql.Identifier(f"p{inner.number}", f"o{n}") if inner else sql.Identifier(self.row, name)
            for n, name in enumerate(inner.part.order_by if inner else part.order_by)
        ]
        keys = [sql.Identifier(f"o{n}") for n in range(len(order))]
        limit = sql.Literal(part.max_rows)
        newest: sql.Composable = sql.SQL("CASE WHEN count(*) > {limit} THEN {all} ELSE max(d.latest) END").format(
            limit=limit, all=self._newest(owner, losses=False)
        )
        if self.losses is not None:
            newest = sql.SQL("greatest({}, ({}))").format(newest, self._latest_loss(owner))
        doc: sql.Composable = inner.value if inner else sql.SQL("to_jsonb(x.*)")
        if self._has_lists:
            # Asked of each row: all that is nested in thousands of rows is never held to be counted.
            running = sql.SQL("sum(1 + {}) OVER (ROWS UNBOUNDED PRECEDING)").format(self._rows_below())
            doc = sql.SQL("CASE WHEN {running} > {limit} THEN {long} ELSE {doc} END").format(
                running=running, limit=limit, long=self._too_long(running), doc=doc
            )
        return sql.SQL(
            "CROSS JOIN LATERAL (SELECT CASE WHEN count(*) > {limit} THEN {long}"
            " ELSE coalesce(jsonb_agg(d.doc ORDER BY {keys}) {filter}, '[]') END AS value, {newest} AS latest,"
            " {total} AS n FROM (SELECT {doc} AS doc, {shown} AS shown, {latest} AS latest, {below} AS n, {order}"
            " FROM {row} WHERE {same} LIMIT {more}) AS d) AS {p}"
        ).format(
            total=sql.SQL("count(*) + coalesce(sum(d.n), 0)" if self._has_lists else "count(*)"),
            limit=limit,
            long=self._too_long(sql.SQL("count(*)")),
            keys=_comma(sql.SQL("d.{}").format(k) for k in keys),
            newest=newest,
            filter=sql.SQL("FILTER (WHERE d.shown)" if inner or self.shown != ALL else ""),
            doc=doc,
            shown=sql.SQL("{} IS NOT NULL").format(inner.value) if inner else self.shown,
            latest=self._latest_of_row(),
            below=self._rows_below(),
            order=_comma(sql.SQL("{} AS {}").format(o, k) for o, k in zip(order, keys, strict=True)),
            row=self._row(),
            same=self.same(self.row, owner),
            more=sql.Literal(part.max_rows + 1),
            p=sql.Identifier(f"p{self.number}"),
        )

    @property
    def _has_lists(self) -> bool:
        return any(node.part.many or node._has_lists for node in self.nodes)

    def _too_long(self, rows: sql.Composable) -> sql.Composed:
        """What is no number, so that Postgres stops and says it."""
        part = self.part
        said = f"{part.path} has more than max_rows={part.max_rows:,} rows, with what is nested in them"
        return sql.SQL("to_jsonb(('{}(' || {} || ')' || {})::int)").format(sql.SQL(LIMIT_MARK), sql.Literal(said), rows)

    def _row(self) -> sql.Composed:
        """The part's row, its own parts, and the object that they make."""
        values = [sql.SQL("{} AS {}").format(value, sql.Identifier(name)) for name, value in self.values]
        values += [
            sql.SQL("{} AS {}").format(n.value, sql.Identifier(n.part.name)) for n in self.nodes if not n.part.inlined
        ]
        return sql.SQL("{} AS {} {}{}").format(
            self.table,
            sql.Identifier(self.row),
            sql.SQL(" ").join(n.lateral(self.row) for n in self.nodes),
            sql.SQL(" CROSS JOIN LATERAL (SELECT {}) AS x").format(_comma(values)) if values else sql.SQL(""),
        )

    def _latest_of_row(self) -> sql.Composed:
        return sql.SQL("greatest({})").format(_comma([self.cursor, *(at for n in self.nodes for at in n.latest)]))

    def _rows_below(self) -> sql.Composed:
        counts = [sql.SQL("coalesce({}, 0)").format(sql.Identifier(f"p{n.number}", "n")) for n in self.nodes]
        return sql.SQL(" + ").join([*counts, sql.SQL("0")])

    def _latest_loss(self, owner: str) -> sql.Composed:
        # That there are none at all, as before a first load, is found once and not for each owner.
        return sql.SQL(
            "SELECT CASE WHEN EXISTS (SELECT FROM {losses}) THEN (SELECT max(l.{cursor}) FROM {losses} AS l WHERE {same}) END"
            " AS latest"
        ).format(
            cursor=sql.Identifier(self.part.cursor_field),
            losses=self.losses or sql.SQL(""),
            same=self.same("l", owner),
        )

    def _newest(self, owner: str, *, losses: bool = True) -> sql.Composed:
        """The greatest cursor value of the part, however long it is: of a list that is cut off."""
        below = [n._newest(self.row) for n in self.nodes]
        rows = sql.SQL("(SELECT max(greatest({})) FROM {} AS {} WHERE {})").format(
            _comma([self.cursor, *below]), self.table, sql.Identifier(self.row), self.same(self.row, owner)
        )
        if not losses or self.losses is None:
            return rows
        return sql.SQL("greatest({}, ({}))").format(rows, self._latest_loss(owner))

    def same(self, row: str, owner: str) -> sql.Composed:
        return sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier(row, a), sql.Identifier(owner, b))
            for a, b in zip(self.part.on, self.part.to, strict=True)
        )


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
            _comma([cursor, *(at for node in self.nodes for at in node.latest)])
        )
        if self.nullable:
            latest = sql.SQL("CASE WHEN {} IS NOT NULL THEN {} END").format(cursor, latest)
        if stones is not None:
            # What still refers to a row that is gone is no part of any document.
            latest = sql.SQL("CASE WHEN {} THEN {} ELSE {} END").format(sql.Identifier("r", stones), cursor, latest)
        values = [sql.SQL("{} AS {}").format(n.value, sql.Identifier(n.part.name)) for n in self.nodes]
        body = sql.SQL("(SELECT r.*, {}, {} AS {} FROM {} {}) AS r").format(
            _comma(values),
            latest,
            sql.Identifier(LATEST),
            relation.body,
            sql.SQL(" ").join(node.lateral("r") for node in self.nodes),
        )
        known = sql.Identifier("r", LATEST)
        return replace(relation, body=body, latest=known, version=sql.SQL(self.version).format(c=known))

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
            columns=_comma(sql.Identifier(f"k{n}") for n in range(len(self.key))),
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
        return sql.SQL("({}) IN ({})").format(_comma(relation.key), self._keys(start, end))

    def _keys(self, start: Bound, end: Bound) -> sql.Composed:
        return sql.SQL(" UNION ").join(keys for _, keys in self._owners(start, end))

    def tables(self, window: Window) -> sql.Composed:
        """Each table's name, and how many documents something in it touches."""
        names = [sql.Identifier(f"k{n}") for n in range(len(self.key))]
        parts = [
            sql.SQL("SELECT {}, {} FROM ({}) AS s ({})").format(sql.Literal(name), _comma(names), keys, _comma(names))
            for name, keys in self._owners(window.start, window.end)
        ]
        return sql.SQL("SELECT name, count(*) FROM ({}) AS s (name, {}) GROUP BY 1 ORDER BY 1").format(
            sql.SQL(" UNION ").join(parts), _comma(names)
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
        return _comma(sql.Identifier(row, name) for name in columns)


def _comma(parts: Sequence[sql.Composable] | Iterator[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)
