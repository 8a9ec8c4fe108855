"""Documents of several tables: which of them something touches, by each table's own index on its cursor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, FromClause, Select

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.model import Window
from airflow_reindex_provider.sources.sql.asking import Asking
from airflow_reindex_provider.sources.sql.joining import Moment, Node
from airflow_reindex_provider.sources.sql.relation import CursorColumn, Part, Relation


@dataclass(frozen=True, slots=True)
class Span:
    """Of cursor values. :ivar start: the first. :ivar after: what they are greater than. :ivar until: the last. :ivar end: what
    they are less than."""

    start: str | None = None
    after: str | None = None
    until: str | None = None
    end: str | None = None

    @classmethod
    def of(cls, window: Window) -> Span:
        return cls(start=None if window.start is None else window.start.cursor, end=window.end.cursor)

    def on(self, column: ColumnElement[Any], cursor: CursorColumn) -> list[ColumnElement[bool]]:
        """:param cursor: says how its values are bound."""
        bounds = (
            (self.start, column.__ge__),
            (self.after, column.__gt__),
            (self.until, column.__le__),
            (self.end, column.__lt__),
        )
        return [compare(cursor.bind(bound)) for bound, compare in bounds if bound is not None]


@dataclass(frozen=True, slots=True)
class Composition:
    """:ivar name: of the table of the documents' rows. :ivar root: that table, as ``rows`` reads it. :ivar rows: of it; each
    knows the version of its document. :ivar stones: keys of rows that were deleted. :ivar snapshot: the statement that begins
    reading all parts of documents as they are at one moment."""

    name: str
    key: tuple[str, ...]
    root: FromClause
    rows: Part
    stones: Part | None
    nodes: tuple[Node, ...]
    moment: Moment
    snapshot: str

    def walk(self) -> Iterator[Node]:
        for top in self.nodes:
            yield from top.walk()

    # -- documents

    def relation(self, *, fresh: bool, members: Part) -> Relation:
        """All of them. :param members: ``rows`` of the source's group alone."""
        if fresh or self.stones is None:
            return Relation((members if fresh else self.rows,))
        return Relation((self.rows, self.stones))

    def touched(self, relation: Relation, span: Span) -> Relation:
        """Those of which something lies in the span."""
        rows, *stones = relation.parts
        found = replace(rows, body=self._found([keys for _, keys in self._owners(span)]))
        return Relation((found, *(_restricted(s, span.on(s.cursor.column, s.cursor)) for s in stones)))

    def changed(self, relation: Relation, window: Window) -> Relation:
        """Those whose version lies in the window."""
        if window.start is not None:
            relation = self.touched(relation, Span.of(window))
        ordinal = self.rows.cursor.kind.ordinal
        version = self.rows.version
        bounds = [version < ordinal(window.end.cursor)]
        if window.start is not None:
            bounds.append(version >= ordinal(window.start.cursor))
        rows, *stones = relation.parts
        return Relation((_restricted(rows, bounds), *stones))

    # -- tables

    def tables(self, asking: Asking, window: Window) -> Mapping[str, int]:
        """How many documents something in each table touches. A row of another table may belong to none."""
        span = Span.of(window)
        owners: dict[str, list[Select[Any]]] = {}
        for name, keys in self._owners(span):
            owners.setdefault(name, []).append(keys)
        found = {}
        for name, selects in owners.items():
            (count,) = asking.one(sa.select(sa.func.count()).select_from(self._found(selects)))
            found[name] = int(count)
        if self.stones is not None:
            where = span.on(self.stones.cursor.column, self.stones.cursor)
            found[self.name] += int(asking.one(self.stones.select(sa.func.count(), where=where))[0])
        return {name: count for name, count in sorted(found.items()) if count}

    def has_any(self, asking: Asking, window: Window) -> bool:
        """One look at each table."""
        span = Span.of(window)
        looks = (
            sa.select(sa.literal(1)).select_from(table).where(*span.on(column, cursor)).limit(1)
            for table, column, cursor in self._changing()
        )
        return any(asking.first(look) is not None for look in looks)

    def oldest(self, asking: Asking, span: Span) -> int | None:
        """The least cursor value in it in any table, as an integer."""
        found = []
        for table, column, cursor in self._changing():
            where = span.on(column, cursor) or [column.is_not(None)]
            least = sa.select(column.label("c")).select_from(table).where(*where).order_by(column).limit(1)
            row = asking.first(sa.select(self.moment(least.subquery("s").c.c)))
            if row is not None and row[0] is not None:
                found.append(int(row[0]))
        return min(found, default=None)

    def parts_ahead(self, asking: Asking, of: str, limit: int | None) -> int:
        """How many rows of other tables lie past the cursor value, each table's as far as ``limit``."""
        count = 0
        for node in self.walk():
            found = sa.select(sa.literal(1).label("n")).select_from(node.table)
            found = found.where(*Span(after=of).on(node.cursor(node.table), node.rows.cursor))
            found = found if limit is None else found.limit(limit)
            count += int(asking.one(sa.select(sa.func.count()).select_from(found.subquery("o")))[0])
        return count

    def require_times(self, asking: Asking, window: Window) -> None:
        """Of what the window has of other tables.

        :raises ConfigurationError: a row's cursor field has no time, so nobody could tell when its document changed."""
        if self.rows.cursor.kind is CursorType.TIMESTAMPTZ:
            # MySQL's TIMESTAMP takes no month or day of 0, and other databases have none.
            return
        for node in self.walk():
            cursor = replace(node.rows.cursor, column=node.cursor(node.table))
            moment = self.moment(cursor.column)
            within = [*Span.of(window).on(cursor.column, cursor), cursor.has_value, moment.is_(None)]
            row = asking.first(sa.select(moment).select_from(node.table).where(*within).limit(1))
            if row is not None:
                # Which says so, as of a document's own row.
                cursor.ordinal(row[0])

    def _changing(self) -> Iterator[tuple[FromClause, ColumnElement[Any], CursorColumn]]:
        """Every table that is looked at, with its cursor field."""
        for part in (self.rows, self.stones):
            if part is not None:
                yield part.body, part.cursor.column, part.cursor
        for node in self.walk():
            for table in (node.table, node.losses):
                if table is not None:
                    yield table, node.cursor(table), node.rows.cursor

    def _owners(self, span: Span) -> Iterator[tuple[str, Select[Any]]]:
        """Of each table, its name and the keys of the documents that something in it belongs to, by way of what owns it."""
        bounds = span.on(self.rows.cursor.column, self.rows.cursor)
        yield self.name, sa.select(*self._keys(self.root, self.key)).select_from(self.root).where(*bounds)
        for top in self.nodes:
            yield from self._owners_by(top, (), span)

    def _owners_by(self, node: Node, above: tuple[Node, ...], span: Span) -> Iterator[tuple[str, Select[Any]]]:
        for table in (node.table, node.losses):
            if table is None:
                continue
            steps, below, row = table, node, table
            for owner in reversed(above):
                steps = steps.join(owner.table, below.same(row, owner.table))
                below, row = owner, owner.table
            keys = self._keys(row, below.part.on)
            if below.part.to != self.key:
                steps = steps.join(self.root, below.same(row, self.root))
                keys = self._keys(self.root, self.key)
            bounds = span.on(node.cursor(table), node.rows.cursor)
            yield node.part.table, sa.select(*keys).select_from(steps).where(*bounds)
        for inner in node.nodes:
            yield from self._owners_by(inner, (*above, node), span)

    def _found(self, selects: Sequence[Select[Any]]) -> FromClause:
        """The rows with these keys, which are found first, and then each row by its own."""
        keys = sa.union(*selects).subquery("t")
        return keys.join(self.root, sa.and_(*(keys.c[f"k{n}"] == self.root.c[name] for n, name in enumerate(self.key))))

    @staticmethod
    def _keys(row: FromClause, columns: tuple[str, ...]) -> list[ColumnElement[Any]]:
        return [row.c[name].label(f"k{n}") for n, name in enumerate(columns)]


def _restricted(part: Part, where: list[ColumnElement[bool]]) -> Part:
    return replace(part, always=sa.and_(*where, *([] if part.always is None else [part.always])))
