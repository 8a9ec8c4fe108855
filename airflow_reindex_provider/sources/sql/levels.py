"""The levels of a document: what is read of each part, and the objects that its rows become."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import ColumnElement, FromClause, Select

from airflow_reindex_provider.core.exact_json import iso
from airflow_reindex_provider.core.model import Key
from airflow_reindex_provider.sources.sql import relation
from airflow_reindex_provider.sources.sql.forms import content
from airflow_reindex_provider.sources.sql.joining import Node
from airflow_reindex_provider.sources.sql.parts import Part
from airflow_reindex_provider.sources.sql.relation import KeyColumn


@dataclass(slots=True)
class Row:
    """An object that is being made. :ivar shown: whether it is in its list; it counts in any case."""

    object: dict[str, Any]
    shown: bool
    found: dict[str, list[Row]] = field(default_factory=dict)

    def begin(self, level: Level) -> None:
        self.object[level.name] = [] if level.is_list else None

    def add(self, level: Level, row: Row) -> None:
        self.found.setdefault(level.name, []).append(row)
        if row.shown and level.is_list:
            self.object[level.name].append(row.object)
        elif row.shown:
            self.object[level.name] = row.object

    def rows(self, level: Level) -> list[Row]:
        return self.found.get(level.name, [])

    def count(self, level: Level) -> int:
        """Of the lists in it, all rows at every depth."""
        own = len(self.rows(level)) if level.is_list else 0
        return own + sum(row.count(below) for row in self.rows(level) for below in level.levels)


@dataclass(frozen=True, slots=True)
class Level:
    """A part as documents show it. :ivar row: what its rows are of: its own table, or the join table of a list.
    :ivar content: what its objects are made of. :ivar bound: the outermost list that it is in; None where it is in none."""

    row: Node
    content: Node
    levels: tuple[Level, ...]
    bound: Part | None

    @classmethod
    def of(cls, node: Node, bound: Part | None = None) -> Level:
        content = node.nodes[0] if node.part.is_join else node
        if bound is None and node.part.many:
            bound = node.part
        return cls(node, content, tuple(cls.of(inner, bound) for inner in content.nodes), bound)

    @property
    def name(self) -> str:
        return self.row.part.name

    @property
    def path(self) -> str:
        return self.row.part.path

    @property
    def is_list(self) -> bool:
        return self.row.part.many

    @property
    def nodes(self) -> tuple[Node, ...]:
        return (self.row,) if self.row is self.content else (self.row, self.content)


def too_long(part: Part) -> str:
    """What is said of a document whose list is."""
    return (
        f"{part.path} has more than max_rows={part.max_rows:,} rows, with what is nested in them. Shorten the list, give the"
        " child a greater max_rows, or leave it out."
    )


Owners = dict[tuple[str, tuple[Any, ...]], list[Row]]
"""The rows that others may be in: by the level's path, empty for the document, and the keys down to the row."""


@dataclass(frozen=True, slots=True)
class Step:
    """A statement's rows, and what they become. Each begins with the keys of all that it is in, from the document down to itself.

    :ivar owner: the path of the level above. :ivar above: how many key columns say whose it is. :ivar keys: all of them.
    :ivar once: whether a row may come several times, since one that is above it does."""

    level: Level
    owner: str
    above: int
    keys: tuple[KeyColumn, ...]
    once: bool

    def take(self, rows: Sequence[Sequence[Any]], owners: Owners) -> None:
        """:param owners: gets these as well. :raises ConfigurationError: a value is none."""
        columns = [(name, value.value) for name, value in self.level.content.values.items()]
        width = len(self.keys)
        for row in rows:
            path = tuple(None if v is None else c.text(v) for c, v in zip(self.keys, row[:width], strict=True))
            if self.once and (self.level.path, path) in owners:
                continue
            gone, *values = row[width : width + 1 + len(columns)]
            # Of a link to what is not there, only the link.
            is_there = path[-1] is not None
            for owner in owners.get((self.owner, path[: self.above]), ()):
                made = Row({}, is_there and not gone)
                if is_there:
                    made.object.update((n, json_of(v)) for n, v in content(columns, values).items())
                    for level in self.level.levels:
                        made.begin(level)
                    owners.setdefault((self.level.path, path), []).append(made)
                owner.add(self.level, made)


def statements(top: Level, root: relation.Part, keys: Sequence[Key], limit: int) -> Iterator[tuple[Step, Select[Any]]]:
    """For a level and all that are nested in it, what reads the rows that the documents of these keys have: at most one more than
    ``limit``, in the order of their lists."""

    def below(
        level: Level, owner: str, body: Any, row: FromClause, above: tuple[KeyColumn, ...], *, once: bool
    ) -> Iterator[tuple[Step, Select[Any]]]:
        for node in level.nodes:
            table = node.rows.body
            # A link to what is not there is a row of the list all the same, which shows nothing.
            body = body.join(table, node.same(table, row), isouter=node.part.inlined)
            row = table
        read = level.content
        path = (*above, *(column for node in level.nodes for column in node.rows.key))
        order = [read.rows.body.c[name].label(f"o{n}") for n, name in enumerate(read.part.order_by)]
        found = sa.select(
            *(column.selected.label(f"t{n}") for n, column in enumerate(path)),
            read.rows.gone.label("g"),
            *(value.selected.label(f"v{n}") for n, value in enumerate(read.values.values())),
            *order,
        )
        chosen = found.select_from(body).where(root.of_keys(keys)).limit(limit + 1).subquery("d")
        ordered: list[ColumnElement[Any]] = []
        for column in order:
            # NULLs last, whichever database it is.
            ordered += [chosen.c[column.name].is_(None), chosen.c[column.name]]
        yield Step(level, owner, len(above), path, once), sa.select(chosen).order_by(*ordered)
        for inner in level.levels:
            yield from below(inner, level.path, body, row, path, once=once or level.row.part.is_join)

    yield from below(top, "", root.body, root.body, root.key, once=False)


def json_of(value: Any) -> Any:
    """As JSON has it, as far as it has a form; a decimal stays one, with all of its digits."""
    match value:
        case datetime() | time():
            return iso(value.isoformat())
        case date() | UUID():
            return str(value)
        case bytes() | bytearray():
            return b64encode(value).decode()
    return value
