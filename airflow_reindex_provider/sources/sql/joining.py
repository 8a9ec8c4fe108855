"""What a document is made of besides its row, as tables that can be joined to it; and the version that comes of it.

The greatest cursor value is asked of each row by a subquery of its own, which an index on the columns that join serves.
Values are no matter of this: see ``assembling.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, FromClause

from airflow_reindex_provider.sources.sql import relation
from airflow_reindex_provider.sources.sql.parts import Part
from airflow_reindex_provider.sources.sql.relation import ValueColumn

Moment = Callable[[ColumnElement[Any]], ColumnElement[Any]]
"""Of a cursor column, its value as an integer: see ``CursorType.ordinal``."""
_NEVER: ColumnElement[Any] = sa.literal_column(str(-(2**62)))
"""Less than every cursor value."""


@dataclass(frozen=True, slots=True)
class Node:
    """A part with what the catalogue makes of it.

    :ivar table: its rows, under a name of their own. :ivar rows: the same with what is read of them. :ivar values: of each column
        of an object. :ivar losses: a table with the part's columns ``on`` and its cursor field; None where there are none."""

    part: Part
    table: FromClause
    rows: relation.Part
    values: Mapping[str, ValueColumn]
    losses: FromClause | None
    nodes: tuple[Node, ...] = field(default=())

    def walk(self) -> Iterator[Node]:
        yield self
        for node in self.nodes:
            yield from node.walk()

    def same(self, row: FromClause, owner: FromClause) -> ColumnElement[bool]:
        """:param row: of :attr:`table`, :attr:`rows` or :attr:`losses`."""
        pairs = zip(self.part.on, self.part.to, strict=True)
        return sa.and_(*(row.c[a] == owner.c[b] for a, b in pairs))

    def cursor(self, row: FromClause) -> ColumnElement[Any]:
        return row.c[self.part.cursor_field]

    def latest(self, owner: FromClause, moment: Moment) -> list[ColumnElement[Any]]:
        """The greatest cursor values of what an owner's row has of it, and of what left that."""
        cursor = self.cursor(self.table)
        below = [value for node in self.nodes for value in node.latest(self.table, moment)]
        # A row without a time says nothing, and what is below it still counts.
        own = sa.func.coalesce(moment(cursor), _NEVER)
        greatest = sa.func.max(sa.func.greatest(own, *below)) if below else moment(sa.func.max(cursor))
        found = [self._asked(greatest, self.table, owner)]
        if self.losses is not None:
            found.append(self._asked(moment(sa.func.max(self.cursor(self.losses))), self.losses, owner))
        return found

    def _asked(self, value: ColumnElement[Any], row: FromClause, owner: FromClause) -> ColumnElement[Any]:
        asked = sa.select(value).select_from(row).where(self.same(row, owner)).correlate(owner).scalar_subquery()
        return sa.func.coalesce(asked, _NEVER)


def latest_of(rows: relation.Part, root: FromClause, nodes: Sequence[Node], moment: Moment) -> ColumnElement[Any]:
    """The version of a row's document; NULL where the row has no cursor value."""
    below = [value for node in nodes for value in node.latest(root, moment)]
    return sa.case((rows.cursor.has_value, sa.func.greatest(moment(rows.cursor.column), *below)))
