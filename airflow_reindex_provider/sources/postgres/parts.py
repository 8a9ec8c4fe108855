"""The tables that a document is made of besides its row's own, each described by the catalogue, and what must be there for them.
All that is wrong is refused here, before a row is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import psycopg
from psycopg import sql

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Field
from airflow_reindex_provider.databases.postgres.names import identifier, quoted, split_name
from airflow_reindex_provider.databases.postgres.transactions import at_server
from airflow_reindex_provider.sources.postgres.assumptions import examine
from airflow_reindex_provider.sources.postgres.bulk import object_value
from airflow_reindex_provider.sources.postgres.catalog import Catalogue
from airflow_reindex_provider.sources.postgres.definition import PostgresDefinition
from airflow_reindex_provider.sources.postgres.description import Description, describe
from airflow_reindex_provider.sources.postgres.joining import ALL, Node
from airflow_reindex_provider.sources.postgres.losses import Losses
from airflow_reindex_provider.sources.postgres.sql import Relation, is_soft_deleted
from airflow_reindex_provider.sources.sql.parts import Part


@dataclass(frozen=True, slots=True)
class DescribedPart:
    """:ivar owner: of what its columns ``to`` are. :ivar losses: None where the author says that there are none."""

    part: Part
    description: Description
    owner: Description
    losses: Losses | None

    # -- what must be there

    def require(self) -> None:
        """:raises ConfigurationError: the table cannot be a part; tells the statement that mends it."""
        part, described, catalogue = self.part, self.description, self.description.catalogue
        cursor = catalogue.column(part.cursor_field)
        root = self.owner.own_types[self.owner.definition.cursor_field]
        own = described.own_types[part.cursor_field]
        if own != root:
            raise ConfigurationError(
                f"{described.definition.label}: cursor_field {part.cursor_field!r} is a {own}, and that of {self.owner.table} a"
                f" {root}: a document's version is the greatest of both, so they must be of one type."
            )
        if cursor is not None and not cursor.not_null:
            raise ConfigurationError(
                f"{described.definition.label}: cursor_field {part.cursor_field!r} can be NULL, and a row without it would come"
                f" into a document unseen: ALTER TABLE {described.table} ALTER COLUMN {quoted([part.cursor_field])} SET NOT NULL;"
            )
        for name in (*part.on, *part.order_by):
            if catalogue.column(name) is None:
                raise ConfigurationError(
                    f"{described.definition.label}: {part.path!r} names {name!r}, which is no column of it."
                )
        for name in part.to:
            if self.owner.catalogue.column(name) is None:
                raise ConfigurationError(
                    f"{self.owner.definition.label}: {part.path!r} names {name!r}, which is no column of it."
                )
        if not _begins(described, part.on):
            raise ConfigurationError(
                f"{described.definition.label} has no index that begins with ({quoted(part.on)}), so the whole table would be"
                f" read for every document: {described.index_ddl(part.on)}"
            )
        if self.losses is not None:
            self.losses.require()

    def warnings(self, connection: psycopg.Connection[Any]) -> Iterator[str]:
        """Of each index that a run has to do without, and of what stamps the rows."""
        yield from self.missing_indexes()
        described = self.description
        yield from examine(
            described, Relation.of(described.definition, described.schema, described.own_types), connection
        )

    def missing_indexes(self) -> Iterator[str]:
        part, described = self.part, self.description
        columns = (part.cursor_field, *(name for name in part.on if name != part.cursor_field))
        if not described.catalogue.has_index_on(columns):
            yield (
                f"{described.definition.label} has no index on ({quoted(columns)}): every run reads the whole table."
                f" {described.index_ddl(columns)}"
            )
        if part.to != self.owner.definition.key and not _begins(self.owner, part.to):
            yield (
                f"{self.owner.definition.label} has no index on ({quoted(part.to)}): a change in {part.table} reads all of it."
                f" {self.owner.index_ddl(part.to)}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Columns of an object."""
        if self.part.is_join:
            return ()
        if self.part.columns is not None:
            return self.part.columns
        return tuple(column.name for column in self.description.columns)


def _begins(described: Description, columns: tuple[str, ...]) -> bool:
    """Whether an index begins with these columns, in any order."""
    return any(
        index["btree"] and set(index["columns"][: len(columns)]) == set(columns)
        for index in described.catalogue.indexes
    )


def definitions_of(source: PostgresDefinition) -> dict[Part, PostgresDefinition]:
    """Each part of its documents as a source of its own rows."""
    return {part: _definition(source, part) for top in source.parts for part in top.walk()}


def describe_parts(
    root: Description, parts: Sequence[Part], connection: psycopg.Connection[Any], catalogues: Mapping[Part, Catalogue]
) -> tuple[tuple[DescribedPart, ...], tuple[Node, ...], tuple[Field, ...]]:
    """All of them in one list, and as the tree that statements and fields are made of.

    :raises ConfigurationError: one of them is no table, or lacks a column."""
    source = root.definition
    if root.catalogue.kind not in ("r", "p") or root.catalogue.children:
        raise ConfigurationError(
            f"{source.label}: children need a table, partitioned or not, that no other inherits from. Read a table, or the whole"
            " document with query=... and a lag."
        )
    if root.schema.cursor_type is CursorType.INTEGER:
        raise ConfigurationError(
            f"{source.label}: a document of several tables needs cursor fields made of time: what {source.cursor_field!r} and"
            " others count each for themselves cannot be compared."
        )
    found: list[DescribedPart] = []
    numbers = count(1)

    def below(
        owner: Description, parts: Sequence[Part], taken: Sequence[str]
    ) -> tuple[tuple[Node, ...], tuple[Field, ...]]:
        nodes, fields = [], []
        for part in parts:
            if part.name in taken and not part.inlined:
                raise ConfigurationError(
                    f"{owner.definition.label} has a column {part.name!r}, and so is {part.path!r} called: give it another name."
                )
            described = describe(_definition(source, part), connection, catalogues[part], unique=not part.is_join)
            if described.catalogue.kind not in ("r", "p") or described.catalogue.children:
                raise ConfigurationError(
                    f"{described.definition.label}: {part.path!r} needs a table, partitioned or not, that no other inherits from:"
                    " of no other do triggers see each row that leaves a document."
                )
            losses = _losses(described, part, owner, connection)
            own = DescribedPart(part, described, owner, losses)
            found.append(own)
            names = own.names
            number = next(numbers)
            inner, inner_fields = below(described, part.parts, names)
            if not names and not inner:
                raise ConfigurationError(f"{source.label}: columns of {part.path!r} is empty, so its objects would be.")
            nodes.append(_node(own, number, inner))
            shown = tuple(described.schema.field(name) for name in names)
            objects = inner_fields[0].fields if part.is_join else inner_fields
            fields.append(Field(part.name, "jsonb", "jsonb", True, (*shown, *objects)))
        return tuple(nodes), tuple(fields)

    nodes, fields = below(root, parts, [column.name for column in root.columns])
    return tuple(found), nodes, fields


def _definition(source: PostgresDefinition, part: Part) -> PostgresDefinition:
    return PostgresDefinition(
        source.conn_id,
        table=part.table,
        primary_key=tuple(dict.fromkeys(part.primary_key)),
        cursor_field=part.cursor_field,
        columns=part.columns,
        soft_delete_column=part.soft_delete_column,
        row_filter=part.row_filter,
        tombstones=part.losses or False,
        lag=source.lag,
        margin=source.margin,
        cursor_timezone=source.cursor_timezone,
    )


def _losses(
    described: Description, part: Part, owner: Description, connection: psycopg.Connection[Any]
) -> Losses | None:
    if part.losses is None:
        return None
    part.require_cursor_of_its_own(described.definition.label)
    by_owner = replace(described.definition, primary_key=part.on)
    relation = described.catalogue.facts["relation"]
    return Losses(
        by_owner,
        described.catalogue,
        relation["schema"],
        described.schema.cursor_type,
        at_server(connection).role,
        (owner.catalogue.facts["relation"]["schema"], split_name(owner.definition.table or "")[1]),
        part.to,
    )


def _node(described: DescribedPart, number: int, inner: tuple[Node, ...]) -> Node:
    part, row = described.part, f"c{number}"
    table: sql.Composable = identifier(part.table)
    passes = "reindex_shown"
    shown: list[sql.Composable] = []
    if part.row_filter:
        # Where it stands, no other table's columns have names of their own.
        table = sql.SQL("(SELECT *, ({}\n) IS TRUE AS {} FROM {} AS r)").format(
            sql.SQL(part.row_filter), sql.Identifier(passes), table
        )
        shown.append(sql.Identifier(row, passes))
    if part.soft_delete_column:
        shown.append(sql.SQL("NOT {}").format(is_soft_deleted(sql.Identifier(row, part.soft_delete_column))))
    schema = described.description.schema
    return Node(
        number=number,
        part=part,
        table=table,
        losses=None if described.losses is None else described.losses.table,
        values=tuple(
            (name, object_value(sql.Identifier(row, name), schema.field(name).wire_type, schema, name))
            for name in described.names
        ),
        nodes=inner,
        shown=sql.SQL(" AND ").join(shown) if shown else ALL,
    )
