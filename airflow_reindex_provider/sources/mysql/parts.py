"""The tables that a document is made of besides its row's own, each described by the catalogue, and what must be there for them.
All that is wrong is refused here, before a row is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import sqlalchemy as sa

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Field
from airflow_reindex_provider.sources.mysql import description
from airflow_reindex_provider.sources.mysql.definition import MySqlDefinition
from airflow_reindex_provider.sources.mysql.losses import Losses, Owner
from airflow_reindex_provider.sources.mysql.server import Server, look_at
from airflow_reindex_provider.sources.mysql.tombstones import Columns, columns_of, indexes_of, quoted, schema_of
from airflow_reindex_provider.sources.sql import relation
from airflow_reindex_provider.sources.sql.asking import Asking
from airflow_reindex_provider.sources.sql.composing import Composition
from airflow_reindex_provider.sources.sql.described import Described
from airflow_reindex_provider.sources.sql.joining import Node, latest_of
from airflow_reindex_provider.sources.sql.parts import Part

_GONE = "reindex_gone"
_NULLABLE = """
SELECT column_name FROM information_schema.columns
WHERE table_schema = :schema AND table_name = :name AND is_nullable = 'YES'
"""
SNAPSHOT = "START TRANSACTION WITH CONSISTENT SNAPSHOT"


@dataclass(frozen=True, slots=True)
class Table:
    """:ivar source: what an author says of it. :ivar columns: of all that it has, see
    ``Tombstones``."""

    source: MySqlDefinition
    schema: str
    name: str
    found: Described
    columns: Columns

    @property
    def rows(self) -> sa.TableClause:
        body: Any = self.found.relation.rows.body
        table: sa.TableClause = body.element
        return table

    def index_ddl(self, columns: Sequence[str]) -> str:
        name = quoted("_".join((self.name, *columns))[:64])
        return f"CREATE INDEX {name} ON {quoted(self.schema)}.{quoted(self.name)} ({', '.join(map(quoted, columns))});"


@dataclass(frozen=True, slots=True)
class DescribedPart:
    """:ivar owner: of what its columns ``to`` are. :ivar losses: None where the author says that there are none."""

    part: Part
    table: Table
    owner: Table
    losses: Losses | None
    asking: Asking

    # -- what must be there

    def check(self) -> Iterator[str]:
        """What a person should know of the table: each index that a run has to do without, and what stamps and deletes its rows.

        :raises ConfigurationError: it cannot be a part; tells the statement that mends it."""
        server = look_at(self.table.source, self.asking)
        indexes = indexes_of(self.asking, self.table.schema, self.table.name)
        self._require(server, indexes)
        yield from self._warnings(server, indexes)

    def _require(self, server: Server, indexes: Mapping[str, Sequence[str]]) -> None:
        part, table = self.part, self.table
        label = table.source.label
        name = f"{quoted(table.schema)}.{quoted(table.name)}"
        if server.is_view or server.engine != "InnoDB":
            what = "a view" if server.is_view else f"kept by {server.engine}"
            raise ConfigurationError(
                f"{label}: {part.path!r} needs a table of InnoDB's, and it is {what}: of no other are rows seen as they were at"
                f" one moment, and triggers fired for each of them. ALTER TABLE {name} ENGINE=InnoDB;"
            )
        root, own = (t.columns[t.source.cursor_field][0] for t in (self.owner, table))
        cursor = part.cursor_field
        if own != root:
            raise ConfigurationError(
                f"{label}: cursor_field {cursor!r} is a {own}, and that of {self.owner.source.table} a {root}: a document's"
                f" version is the greatest of both, so they must be of one type. ALTER TABLE {name} MODIFY {quoted(cursor)}"
                f" {self._kind(root)};"
            )
        if cursor in {str(n) for (n,) in self._asked(_NULLABLE)}:
            raise ConfigurationError(
                f"{label}: cursor_field {cursor!r} can be NULL, and a row without it would come into a document unseen: ALTER"
                f" TABLE {name} MODIFY {quoted(cursor)} {self._kind(own)};"
            )
        if not (part.is_join or table.found.keeps_keys):
            raise ConfigurationError(
                f"{label}: primary_key ({', '.join(table.source.key)}) of {part.path!r} is not unique and never NULL by the"
                " database's own word, so two rows could be one: name one that is, or make it so, ALTER TABLE"
                f" {name} ADD UNIQUE KEY ({', '.join(map(quoted, table.source.key))});"
            )
        self._require_likeness()
        if not _begins(indexes.values(), part.on):
            raise ConfigurationError(
                f"{label} has no index that begins with ({', '.join(part.on)}), so the whole table would be read for every"
                f" document: {table.index_ddl(part.on)}"
            )
        if self.losses is not None:
            self.losses.require()

    def _kind(self, kind: str) -> str:
        digits = self.owner.columns[self.owner.source.cursor_field][3]
        moment = f"CURRENT_TIMESTAMP{f'({digits})' if digits else ''}"
        stamped = f" DEFAULT {moment} ON UPDATE {moment}" if kind.startswith(("timestamp", "datetime")) else ""
        return f"{kind.upper()} NOT NULL{stamped}"

    def _require_likeness(self) -> None:
        """What joins rows is compared by the database: of other types it would compare something else, or without an index."""
        for a, b in zip(self.part.on, self.part.to, strict=True):
            own, other = self.table.columns[a], self.owner.columns[b]
            if not _alike(own, other):
                raise ConfigurationError(
                    f"{self.table.source.label}: {a!r}, which {self.part.path!r} is joined by, is {_said(own)}, and {b!r} of"
                    f" {self.owner.source.table} is {_said(other)}: they must be of one kind. ALTER TABLE"
                    f" {quoted(self.table.schema)}.{quoted(self.table.name)} MODIFY {quoted(a)} {_said(other)};"
                )

    def _warnings(self, server: Server, indexes: Mapping[str, Sequence[str]]) -> Iterator[str]:
        part, table, owner = self.part, self.table, self.owner
        columns = (part.cursor_field, *(name for name in part.on if name != part.cursor_field))
        if not _begins(indexes.values(), columns[:1]):
            yield (
                f"{table.source.label} has no index on ({', '.join(columns)}): every run reads the whole table."
                f" {table.index_ddl(columns)}"
            )
        if part.to != owner.source.key and not _begins(
            indexes_of(self.asking, owner.schema, owner.name).values(), part.to
        ):
            yield (
                f"{owner.source.label} has no index on ({', '.join(part.to)}): a change in {part.table} reads all of it."
                f" {owner.index_ddl(part.to)}"
            )
        yield from server.doubts(owned_by=owner.name if part.many else None)
        yield from self._untimed()
        if self.losses is not None:
            yield from self.losses.doubts()

    def _untimed(self) -> Iterator[str]:
        """Rows with a zero date, which lies before every window."""
        table, cursor = self.table, quoted(self.part.cursor_field)
        (count,) = self.asking.one(table.found.relation.nulls())
        if count:
            least = description.LEAST[table.found.schema.cursor_type]
            yield (
                f"{table.source.label}: {count:,} rows have a zero date in cursor_field {self.part.cursor_field!r}. Documents"
                " have them as they are, but one that comes or changes brings none. Give them a time, UPDATE"
                f" {quoted(table.schema)}.{quoted(table.name)} SET {cursor} = CURRENT_TIMESTAMP(6) WHERE {cursor} < '{least}';"
                " and sweep once, comparing content."
            )

    def _asked(self, statement: str) -> Sequence[Any]:
        return self.asking.all(sa.text(statement).bindparams(schema=self.table.schema, name=self.table.name))


def _begins(indexes: Any, columns: Sequence[str]) -> bool:
    """Whether an index begins with these columns, in any order."""
    return any(set(index[: len(columns)]) == set(columns) for index in indexes)


def _alike(own: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    def is_integer(kind: str) -> bool:
        return "int" in kind

    if is_integer(own[0]) or is_integer(other[0]):
        return is_integer(own[0]) and is_integer(other[0])
    return own[0].partition("(")[0] == other[0].partition("(")[0] and own[1:3] == other[1:3]


def _said(column: tuple[Any, ...]) -> str:
    kind, charset, collation, _ = column
    return f"{kind.upper()} CHARACTER SET {charset} COLLATE {collation}" if charset else kind.upper()


@dataclass(frozen=True, slots=True)
class Parts:
    """Of a source's documents. :ivar fields: of the document."""

    parts: tuple[DescribedPart, ...]
    nodes: tuple[Node, ...]
    fields: tuple[Field, ...]


def describe_parts(source: MySqlDefinition, root: Described, server: Server, asking: Asking) -> Parts:
    """Whether what they need is there is not looked at.

    :raises ConfigurationError: one of them is no table, or lacks a column."""
    kind = root.schema.cursor_type
    if kind is CursorType.INTEGER:
        raise ConfigurationError(
            f"{source.label}: a document of several tables needs cursor fields made of time: what {source.cursor_field!r} and"
            " others count each for themselves cannot be compared."
        )
    if server.is_view or server.engine != "InnoDB":
        raise ConfigurationError(f"{source.label}: children need a table of InnoDB's, of which this is none.")
    found: list[DescribedPart] = []
    numbers = count(1)
    served: dict[str, list[Owner]] = {}

    def below(owner: Table, parts: Sequence[Part], taken: Sequence[str]) -> tuple[list[Node], list[Field]]:
        nodes, fields = [], []
        for part in parts:
            if part.name in taken and not part.inlined:
                raise ConfigurationError(
                    f"{owner.source.label} has a column {part.name!r}, and so is {part.path!r} called: give it another name."
                )
            number = next(numbers)
            table = _table(_definition(source, part), asking)
            for name, columns in ((table, (*part.on, *part.order_by)), (owner, part.to)):
                for column in columns:
                    if column not in name.columns:
                        raise ConfigurationError(
                            f"{name.source.label}: {part.path!r} names {column!r}, which is no column of it."
                        )
            losses = _losses(table, part, kind, asking, server.user)
            if losses is not None:
                served.setdefault(part.losses or "", []).append((owner.schema, owner.name, part.to))
            found.append(DescribedPart(part, table, owner, losses, asking))
            names = () if part.is_join else part.columns or tuple(f.name for f in table.found.schema.fields)
            inner, inner_fields = below(table, part.parts, names)
            nodes.append(_node(part, table, names, losses, number, tuple(inner)))
            shown = tuple(table.found.schema.field(name) for name in names)
            objects = inner_fields[0].fields if part.is_join else inner_fields
            fields.append(Field(part.name, "jsonb", "jsonb", True, (*shown, *objects)))
        return nodes, fields

    schema, name = schema_of(asking, source.table)
    own = Table(source, schema, name, root, columns_of(asking, schema, name))
    nodes, fields = below(own, source.parts, [f.name for f in root.schema.fields])
    return Parts(tuple(_owned(part, served) for part in found), tuple(nodes), tuple(fields))


def _owned(described: DescribedPart, served: dict[str, list[Owner]]) -> DescribedPart:
    """With all whose losses are in its table."""
    if described.losses is None:
        return described
    own = (described.owner.schema, described.owner.name, described.part.to)
    owners = tuple(dict.fromkeys((own, *served[described.part.losses or ""])))
    return replace(described, losses=replace(described.losses, owners=owners))


def compose(source: MySqlDefinition, found: Described, parts: Parts, stones: relation.Part | None) -> Described:
    """What documents are read from."""
    rows = found.relation.rows
    kind = found.schema.cursor_type

    def moment(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return description.moment(kind, column)

    latest = latest_of(rows, rows.body, parts.nodes, moment)
    rows, members = (replace(r.rows, latest=latest) for r in (found.relation, found.members))
    composition = Composition(
        name=source.table,
        key=source.key,
        root=rows.body,
        rows=rows,
        stones=stones,
        nodes=parts.nodes,
        moment=moment,
        snapshot=SNAPSHOT,
    )
    return replace(
        found,
        schema=replace(found.schema, fields=(*found.schema.fields, *parts.fields)),
        relation=composition.relation(fresh=False, members=members),
        members=composition.relation(fresh=True, members=members),
        composition=composition,
    )


def _definition(source: MySqlDefinition, part: Part) -> MySqlDefinition:
    key = tuple(dict.fromkeys(part.primary_key))
    return MySqlDefinition(
        source.conn_id,
        table=part.table,
        primary_key=key,
        cursor_field=part.cursor_field,
        columns=key if part.is_join else part.columns,
        soft_delete_column=part.soft_delete_column,
        row_filter=part.row_filter,
        tombstones=part.losses or False,
        lag=source.lag,
        margin=source.margin,
        cursor_timezone=source.cursor_timezone,
    )


def _table(source: MySqlDefinition, asking: Asking) -> Table:
    with asking.explained():
        found = description.describe(source, asking.connection)
    schema, name = schema_of(asking, source.table)
    return Table(source, schema, name, found, columns_of(asking, schema, name))


def _losses(table: Table, part: Part, kind: CursorType, asking: Asking, user: str) -> Losses | None:
    if part.losses is None:
        return None
    part.require_cursor_of_its_own(table.source.label)
    by_owner = replace(table.source, primary_key=part.on)
    return Losses(by_owner, asking, kind, table.schema, table.columns, user, ())


def _node(
    part: Part, table: Table, names: Sequence[str], losses: Losses | None, number: int, inner: tuple[Node, ...]
) -> Node:
    rows = table.found.relation.rows
    old: Any = rows.body
    plain = table.rows.alias(f"c{number}")
    read: sa.FromClause = plain
    if part.row_filter:
        # Where it stands, no other table's columns have names of their own.
        read = sa.select(*old.c, rows.gone.label(_GONE)).select_from(old).subquery(f"c{number}")
    move = _mover(old, read)
    moved = replace(
        rows,
        body=read,
        cursor=replace(rows.cursor, column=read.c[part.cursor_field]),
        key=tuple(replace(c, column=move(c.column), selected=move(c.selected)) for c in rows.key),
        columns={n: replace(v, selected=move(v.selected)) for n, v in rows.columns.items()},
        gone=read.c[_GONE] if part.row_filter else move(rows.gone),
    )
    types = {name: column.type for name, column in table.rows.c.items()}
    return Node(
        part=part,
        table=plain,
        rows=moved,
        values={name: moved.columns[name] for name in names},
        losses=None if losses is None else losses.stones(types).alias(f"l{number}"),
        nodes=inner,
    )


def _mover(old: sa.FromClause, new: sa.FromClause) -> Callable[[sa.ColumnElement[Any]], sa.ColumnElement[Any]]:
    """Makes of what is said of one table's columns the same of another's."""

    def replaced(element: Any, **_: Any) -> Any:
        is_of_old = isinstance(element, sa.ColumnClause) and element.table is old
        return new.c[element.name] if is_of_old else None

    def move(expression: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        moved: sa.ColumnElement[Any] = sa.sql.visitors.replacement_traverse(expression, {}, replaced)
        return moved

    return move
