"""The statements that a table with a cursor needs, in SQLAlchemy Core: windows, places, pages, counts and listings.

Columns are compared and ordered as they are, so that an index on (cursor field, primary key) serves; values are bound as the
column's own type. The rows go by the name ``r``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, FromClause, Select, Subquery

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.keys import KeyRange
from airflow_reindex_provider.core.model import Key, Position, Window

Bind = Callable[[str], ColumnElement[Any]]
"""A text as a value that can be compared with a column."""


@dataclass(frozen=True, slots=True)
class CursorColumn:
    """:ivar column: what is compared and ordered by. :ivar bind: of a cursor value. :ivar ordinal: of what the driver gives for
    the column, see ``CursorType.ordinal``. :ivar selected: what is read to learn the value; default: the column. :ivar least:
    what lies below it counts as no value; default: NULL alone."""

    column: ColumnElement[Any]
    kind: CursorType
    bind: Bind
    ordinal: Callable[[Any], int]
    selected: ColumnElement[Any] | None = None
    least: ColumnElement[Any] | None = None

    @property
    def has_value(self) -> ColumnElement[bool]:
        return self.column.is_not(None) if self.least is None else self.column >= self.least

    @property
    def has_none(self) -> ColumnElement[bool]:
        return self.column.is_(None) if self.least is None else self.column.is_(None) | (self.column < self.least)

    @property
    def read(self) -> ColumnElement[Any]:
        return self.column if self.selected is None else self.selected

    def text(self, value: Any) -> str:
        return self.kind.text(self.ordinal(value))


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """:ivar column: what is compared and ordered by, with the database's own idea of what is equal. :ivar bind: of a key's text.
    :ivar selected: what is read to learn the key. :ivar text: of what the driver gives for that.
    :ivar order: orders as ``core.keys`` does, compared with what ``order_bind`` makes; None where the database cannot."""

    column: ColumnElement[Any]
    bind: Bind
    selected: ColumnElement[Any]
    text: Callable[[Any], str]
    order: ColumnElement[Any] | None
    order_bind: Bind


@dataclass(frozen=True, slots=True)
class ValueColumn:
    """:ivar selected: what is read. :ivar value: makes Python's value of what the driver gives, never of NULL; raises what says
    that a row has none. None takes it as it comes."""

    selected: ColumnElement[Any]
    value: Callable[[Any], Any] | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one table. :ivar gone: 1 for a row that is no member, else 0. :ivar always: what holds of each row.
    :ivar latest: the version of the document that a row is made to, as an integer; None where it is the row's cursor value."""

    body: FromClause
    cursor: CursorColumn
    key: tuple[KeyColumn, ...]
    columns: Mapping[str, ValueColumn]
    gone: ColumnElement[Any]
    always: ColumnElement[bool] | None = None
    latest: ColumnElement[Any] | None = None

    @property
    def version(self) -> ColumnElement[Any]:
        """What is read to learn the version."""
        return self.cursor.read if self.latest is None else self.latest

    def version_of(self, value: Any) -> int:
        """:param value: what the driver gives for :attr:`version`."""
        return self.cursor.ordinal(value) if self.latest is None else int(value)

    def select(self, *columns: ColumnElement[Any], where: Sequence[ColumnElement[bool]] = ()) -> Select[Any]:
        conditions = [*where] if self.always is None else [*where, self.always]
        return sa.select(*columns).select_from(self.body).where(*conditions)

    def within(self, window: Window) -> list[ColumnElement[bool]]:
        """The window as conditions. Beside each comparison of places stands the cursor's own bound, which an index gives."""
        column, end = self.cursor.column, window.end
        bound = self.cursor.bind(end.cursor)
        conditions: list[ColumnElement[bool]]
        if end.key:
            conditions = [column <= bound, self._compared(end, _less)]
        else:
            conditions = [column < bound]
        if window.start is None and self.cursor.least is None:
            # What is less than the end is not NULL.
            return conditions
        return [*conditions, *self.since(window.start)]

    def since(self, start: Position | None) -> list[ColumnElement[bool]]:
        column = self.cursor.column
        if start is None:
            return [self.cursor.has_value]
        conditions: list[ColumnElement[bool]] = [column >= self.cursor.bind(start.cursor)]
        if start.key:
            conditions.append(self._compared(start, _at_least))
        return conditions

    def of_keys(self, keys: Sequence[Key]) -> ColumnElement[bool]:
        if len(self.key) == 1:
            (only,) = self.key
            return only.column.in_([bound for (part,) in keys if (bound := _bound(only, part)) is not None])
        return sa.or_(*(self.is_key(key) for key in keys))

    def is_key(self, key: Key) -> ColumnElement[bool]:
        """Never, where a part is no value of its column: its type may have been altered since the key was written down."""
        parts = [(c.column, _bound(c, part)) for c, part in zip(self.key, key, strict=True)]
        return sa.and_(*(sa.false() if bound is None else column == bound for column, bound in parts))

    def told(self) -> list[ColumnElement[Any]]:
        """What a row's place is learnt from: cursor, key parts."""
        return [self.cursor.read.label("c"), *self.told_key()]

    def told_key(self) -> list[ColumnElement[Any]]:
        return [c.selected.label(f"t{n}") for n, c in enumerate(self.key)]

    def order(self) -> list[ColumnElement[Any]]:
        return [self.cursor.column, *(c.column for c in self.key)]

    def _compared(self, place: Position, how: Compare) -> ColumnElement[bool]:
        """(cursor, key) with the place, written out: not every database compares rows, or does so by an index."""
        columns = [(self.cursor.column, self.cursor.bind(place.cursor))]
        columns += [(c.column, c.bind(part)) for c, part in zip(self.key, place.key, strict=True)]
        return how(columns)

    def ordered_within(self, within: KeyRange) -> list[ColumnElement[bool]]:
        conditions: list[ColumnElement[bool]] = []
        for key, is_start in ((within.start, True), (within.end, False)):
            if key is not None:
                bounds = [(order, c.order_bind(part)) for (c, order), part in zip(self._orders(), key, strict=True)]
                conditions.append((_at_least if is_start else _less)(bounds))
        return conditions

    def key_order(self) -> list[ColumnElement[Any]]:
        return [order for _, order in self._orders()]

    def _orders(self) -> list[tuple[KeyColumn, ColumnElement[Any]]]:
        return [(c, c.order) for c in self.key if c.order is not None]


Own = Callable[[Part], Sequence[ColumnElement[Any]]]
"""What is selected of a part."""


@dataclass(frozen=True, slots=True)
class Relation:
    """What a session reads: the table's rows, and beside them what other parts there are. Each statement asks every part for
    what it needs of it, so that each goes through its own index."""

    parts: tuple[Part, ...]

    @property
    def rows(self) -> Part:
        """The table's own."""
        return self.parts[0]

    def exists(self, window: Window) -> Select[Any]:
        """A row, if the window has one."""
        return self._some([p.select(sa.literal(1).label("n"), where=p.within(window)).limit(1) for p in self.parts], 1)

    def count(self, window: Window) -> Select[Any]:
        return self._sum([p.select(sa.func.count().label("n"), where=p.within(window)) for p in self.parts])

    def starts(self, window: Window, step: int) -> Select[Any]:
        """Cursor and key parts of every ``step``-th row of the window, the first included."""
        names = self._names()
        inner = self._union([p.select(*self._place(p), where=p.within(window)) for p in self.parts])
        number = sa.func.row_number().over(order_by=[inner.c[n] for n in names[1]])
        numbered = sa.select(*(inner.c[n] for n in names[0]), (number - 1).label("n")).subquery("s")
        return sa.select(*(numbered.c[n] for n in names[0])).where(numbered.c.n % step == 0).order_by(numbered.c.n)

    def page(
        self, window: Window, own: Own | None, limit: int, keys: Sequence[Key] = (), *, placed: bool = True
    ) -> Select[Any]:
        """The first ``limit`` rows of the window in order of change: cursor, key parts, and ``own``.

        :param own: what else is selected of each part, as many columns of each; None for the places alone.
        :param keys: only the rows of these. :param placed: whether cursor and key parts are selected."""
        chosen = []
        for part in self.parts:
            where = [*part.within(window), *([part.of_keys(keys)] if keys else [])]
            further = [column.label(f"v{n}") for n, column in enumerate(own(part) if own else ())]
            place = self._place(part) if len(self.parts) > 1 else part.told() if placed else []
            chosen.append(part.select(*place, *further, where=where).order_by(*part.order()).limit(limit))
        if len(chosen) == 1:
            return chosen[0]
        read = [*(self._names()[0] if placed else ()), *(f"v{n}" for n in range(len(further)))]
        union = self._union(chosen)
        return sa.select(*(union.c[n] for n in read)).order_by(*(union.c[n] for n in self._names()[1])).limit(limit)

    def since(self, start: Position | None, *, until: str | None, limit: int) -> Select[Any]:
        """How many changes lie at or past the place and not past ``until``, as far as ``limit``."""
        counted = []
        for part in self.parts:
            where = part.since(start)
            if until is not None:
                where.append(part.cursor.column <= part.cursor.bind(until))
            counted.append(part.select(sa.literal(1).label("n"), where=where).limit(limit))
        return sa.select(sa.func.count()).select_from(self._union(counted))

    def oldest(self, start: Position | None) -> list[Select[Any]]:
        """One for each part: the least cursor value at or past the place."""
        return [p.select(p.cursor.read, where=p.since(start)).order_by(p.cursor.column).limit(1) for p in self.parts]

    def ahead(self, of: str, *, limit: int | None) -> Select[Any]:
        """How many rows lie past the cursor value, as far as ``limit``."""
        part = self.rows
        found = part.select(sa.literal(1).label("n"), where=[part.cursor.column > part.cursor.bind(of)])
        return sa.select(sa.func.count()).select_from((found if limit is None else found.limit(limit)).subquery("o"))

    def nulls(self) -> Select[Any]:
        return self.rows.select(sa.func.count(), where=[self.rows.cursor.has_none])

    def greatest_cursor(self) -> Select[Any]:
        part = self.rows
        where = [part.cursor.has_value]
        return part.select(part.cursor.read, where=where).order_by(part.cursor.column.desc()).limit(1)

    def duplicate(self, window: Window) -> Select[Any]:
        """A key of the window that stands for several rows, wherever these lie, with their number."""
        part = self.rows
        columns = [c.column for c in part.key]
        whole = columns[0] if len(columns) == 1 else sa.tuple_(*columns)
        where = [part.cursor.has_value]
        if window.start is not None:
            where.append(whole.in_(part.select(*columns, where=part.within(window))))
        return (
            part.select(*columns, sa.func.count(), where=where).group_by(*columns).having(sa.func.count() > 1).limit(1)
        )

    def all_keys(self) -> Select[Any]:
        parts = [p.select(*p.told_key()) for p in self.parts]
        return sa.select(self._union(parts)) if len(parts) > 1 else parts[0]

    def all_count(self, limit: int) -> Select[Any]:
        """As far as the limit, of each part."""
        counted = [p.select(sa.literal(1).label("n")).limit(limit) for p in self.parts]
        return sa.select(sa.func.count()).select_from(self._union(counted))

    def keys_from(self, cursor: str) -> Select[Any]:
        parts = [p.select(*p.told_key(), where=[p.cursor.column >= p.cursor.bind(cursor)]) for p in self.parts]
        return sa.select(self._union(parts)) if len(parts) > 1 else parts[0]

    # -- in the order of core.keys, of the table's own rows

    def count_within(self, within: KeyRange) -> Select[Any]:
        return self.rows.select(sa.func.count(), where=self.rows.ordered_within(within))

    def key_starts(self, within: KeyRange, step: int) -> Select[Any]:
        """Key parts of every ``step``-th row of the range but the first."""
        part = self.rows
        number = sa.func.row_number().over(order_by=part.key_order())
        numbered = part.select(*part.told_key(), (number - 1).label("n"), where=part.ordered_within(within)).subquery(
            "s"
        )
        names = [f"t{n}" for n in range(len(part.key))]
        return (
            sa.select(*(numbered.c[n] for n in names))
            .where(numbered.c.n > 0, numbered.c.n % step == 0)
            .order_by(numbered.c.n)
        )

    def listed(self, within: KeyRange) -> Select[Any]:
        """Key parts, cursor and gone."""
        part = self.rows
        return part.select(
            *part.told_key(), part.version.label("c"), part.gone.label("g"), where=part.ordered_within(within)
        ).order_by(*part.key_order())

    def looked_up(self, keys: Sequence[Key]) -> Select[Any] | sa.CompoundSelect[Any]:
        """The number of the key among those asked for, the row's own key parts, cursor and gone."""
        part = self.rows
        found = [
            part.select(
                sa.literal(n).label("a"),
                *part.told_key(),
                part.version.label("c"),
                part.gone.label("g"),
                where=[part.is_key(key)],
            )
            for n, key in enumerate(keys)
        ]
        return found[0] if len(found) == 1 else sa.union_all(*found)

    # -- pieces

    def _names(self) -> tuple[list[str], list[str]]:
        """Of the columns that tell a place, as they are read and as they are ordered by."""
        width = range(len(self.rows.key))
        return ["c", *(f"t{n}" for n in width)], ["oc", *(f"k{n}" for n in width)]

    @staticmethod
    def _place(part: Part) -> list[ColumnElement[Any]]:
        return [
            *part.told(),
            part.cursor.column.label("oc"),
            *(c.column.label(f"k{n}") for n, c in enumerate(part.key)),
        ]

    @staticmethod
    def _union(selects: Sequence[Select[Any]]) -> Subquery:
        if len(selects) == 1:
            return selects[0].subquery("u")
        # A limit of one part of a union has to stand in a subquery of its own for some databases.
        apart = [sa.select(s.subquery(f"p{n}")) for n, s in enumerate(selects)]
        return sa.union_all(*apart).subquery("u")

    @staticmethod
    def _some(selects: Sequence[Select[Any]], limit: int) -> Select[Any]:
        return selects[0] if len(selects) == 1 else sa.select(Relation._union(selects)).limit(limit)

    @staticmethod
    def _sum(selects: Sequence[Select[Any]]) -> Select[Any]:
        if len(selects) == 1:
            return selects[0]
        return sa.select(sa.func.sum(Relation._union(selects).c.n))


def texts(key: Sequence[KeyColumn], values: Sequence[Any]) -> Key:
    """The key that the driver has given the parts of."""
    return tuple(column.text(value) for column, value in zip(key, values, strict=True))


Compare = Callable[[Sequence[tuple[ColumnElement[Any], ColumnElement[Any]]]], ColumnElement[bool]]


def _at_least(columns: Sequence[tuple[ColumnElement[Any], ColumnElement[Any]]]) -> ColumnElement[bool]:
    (column, bound), *rest = columns
    return sa.or_(column > bound, sa.and_(column == bound, _at_least(rest))) if rest else column >= bound


def _less(columns: Sequence[tuple[ColumnElement[Any], ColumnElement[Any]]]) -> ColumnElement[bool]:
    (column, bound), *rest = columns
    less = column < bound
    return sa.or_(less, sa.and_(column == bound, _less(rest))) if rest else less


def _bound(column: KeyColumn, text: str) -> ColumnElement[Any] | None:
    try:
        return column.bind(text)
    except ValueError:
        return None
