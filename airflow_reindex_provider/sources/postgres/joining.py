"""What a row is joined with to make a document: each part of it as a ``LATERAL`` subquery, which an index on the columns that
join it serves. It gives the part's value and the greatest cursor value in it, from one reading of its rows and in the snapshot
of the whole statement; where only the latter is wanted, Postgres leaves the value out.

A value is ``json``, so text that grows: as ``jsonb`` each part would be taken apart and put together at every level, and made
text in the end all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from psycopg import sql

from airflow_reindex_provider.databases.postgres.names import comma
from airflow_reindex_provider.sources.sql.parts import Part

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
            "LEFT JOIN LATERAL (SELECT CASE WHEN {shown} THEN row_to_json(x.*) END AS value, {latest} AS latest,"
            " {count} AS n{order} FROM {row} WHERE {same}) AS {p} ON true"
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
        doc: sql.Composable = inner.value if inner else sql.SQL("row_to_json(x.*)")
        if self._has_lists:
            # Asked of each row: all that is nested in thousands of rows is never held to be counted.
            running = sql.SQL("sum(1 + {}) OVER (ROWS UNBOUNDED PRECEDING)").format(self._rows_below())
            doc = sql.SQL("CASE WHEN {running} > {limit} THEN {long} ELSE {doc} END").format(
                running=running, limit=limit, long=self._too_long(running), doc=doc
            )
        return sql.SQL(
            "CROSS JOIN LATERAL (SELECT CASE WHEN count(*) > {limit} THEN {long}"
            " ELSE coalesce(json_agg(d.doc ORDER BY {keys}) {filter}, '[]') END AS value, {newest} AS latest,"
            " {total} AS n FROM (SELECT {doc} AS doc, {shown} AS shown, {latest} AS latest, {below} AS n, {order}"
            " FROM {row} WHERE {same} LIMIT {more}) AS d) AS {p}"
        ).format(
            total=sql.SQL("count(*) + coalesce(sum(d.n), 0)" if self._has_lists else "count(*)"),
            limit=limit,
            long=self._too_long(sql.SQL("count(*)")),
            keys=comma(sql.SQL("d.{}").format(k) for k in keys),
            newest=newest,
            filter=sql.SQL("FILTER (WHERE d.shown)" if inner or self.shown != ALL else ""),
            doc=doc,
            shown=sql.SQL("{} IS NOT NULL").format(inner.value) if inner else self.shown,
            latest=self._latest_of_row(),
            below=self._rows_below(),
            order=comma(sql.SQL("{} AS {}").format(o, k) for o, k in zip(order, keys, strict=True)),
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
        return sql.SQL("to_json(('{}(' || {} || ')' || {})::int)").format(sql.SQL(LIMIT_MARK), sql.Literal(said), rows)

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
            sql.SQL(" CROSS JOIN LATERAL (SELECT {}) AS x").format(comma(values)) if values else sql.SQL(""),
        )

    def _latest_of_row(self) -> sql.Composed:
        return sql.SQL("greatest({})").format(comma([self.cursor, *(at for n in self.nodes for at in n.latest)]))

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
            comma([self.cursor, *below]), self.table, sql.Identifier(self.row), self.same(self.row, owner)
        )
        if not losses or self.losses is None:
            return rows
        return sql.SQL("greatest({}, ({}))").format(rows, self._latest_loss(owner))

    def same(self, row: str, owner: str) -> sql.Composed:
        return sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier(row, a), sql.Identifier(owner, b))
            for a, b in zip(self.part.on, self.part.to, strict=True)
        )
