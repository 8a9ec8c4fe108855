"""What a session reads: the changes of a source, or the rows of its group alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from airflow_reindex_provider.core.model import Batch, Position, Window
from airflow_reindex_provider.databases.postgres.listing import Asked
from airflow_reindex_provider.databases.postgres.names import identifier
from airflow_reindex_provider.databases.postgres.transactions import at_server
from airflow_reindex_provider.sources.postgres.composing import Composition
from airflow_reindex_provider.sources.postgres.definition import PostgresDefinition
from airflow_reindex_provider.sources.postgres.description import Description, catalogues, describe
from airflow_reindex_provider.sources.postgres.parts import DescribedPart, definitions_of, describe_parts
from airflow_reindex_provider.sources.postgres.sql import VERSIONS, Relation
from airflow_reindex_provider.sources.postgres.tombstones import MARK, Tombstones


@dataclass(frozen=True, slots=True)
class Relations:
    """:ivar changes: all rows and the tombstones; rows of other groups count as deleted.
    :ivar members: the rows alone, without tombstones, and of those of the source's group, should it have one.
    :ivar rows: the latter, and of a composed document its row alone. :ivar changed_rows: the same of ``changes``.
    :ivar composition: how documents of several tables are made; None where a document is a row.
    :ivar parts: what they are made of besides their row."""

    description: Description
    changes: Relation
    members: Relation
    rows: Relation
    changed_rows: Relation
    composition: Composition | None = None
    parts: tuple[DescribedPart, ...] = ()

    @classmethod
    def described(cls, source: PostgresDefinition, connection: psycopg.Connection[Any]) -> Relations:
        """:raises ConfigurationError: the relation cannot be a stream's source, or its deletions are not recorded as stated."""
        description, parts, composition = describe_all(source, connection)
        tombstones = tombstones_of(description, connection) if source.tombstones else None
        if tombstones is not None:
            tombstones.require()
        for part in parts:
            part.require()
        schema, types = description.schema, description.own_types
        changes = Relation.of(source, schema, types, tombstones=tombstones)
        members = Relation.of(source, schema, types, members=True)
        if composition is None:
            return cls(description, changes, members, members, changes)
        return cls(
            description,
            composition.of(changes, stones=MARK if tombstones is not None else None),
            composition.of(members, stones=None),
            members,
            changes,
            composition,
            parts,
        )

    def of(self, *, fresh: bool) -> Relation:
        """:param fresh: see :class:`~airflow_reindex_provider.core.model.Batch`."""
        return self.members if fresh else self.changes

    def rows_to_cut(self, *, fresh: bool) -> Relation:
        return self.rows if fresh else self.changed_rows

    def to_read(self, batch: Batch) -> Relation:
        """What a batch is read from, in its window."""
        relation = self.of(fresh=batch.fresh)
        if self.composition is None:
            return relation
        changed = batch.changed or Window(None, Position(batch.window.end.cursor))
        is_all = batch.window == Window(None, changed.end)
        return self.documents(self.composition, changed, fresh=batch.fresh, rows=None if is_all else batch.window)

    def documents(
        self, composition: Composition, window: Window, *, fresh: bool, rows: Window | None = None
    ) -> Relation:
        """Those of several tables whose version lies in the window. :param rows: see ``Composition.within``."""
        stones = None if fresh or not self.description.definition.tombstones else MARK
        return composition.within(self.rows_to_cut(fresh=fresh), window, stones=stones, rows=rows)

    def members_of(self, keys: Asked) -> Relation:
        """``members``, of which documents of several tables are made for these keys alone."""
        if self.composition is None:
            return self.members
        asked = sql.SQL("EXISTS (SELECT FROM {} WHERE {})").format(keys.body, keys.equal)
        return self.composition.of(self.rows.where(asked), stones=None)

    def since(self, start: Position | None) -> sql.Composed:
        """As a condition on ``changed_rows``: the document has something at or past the place."""
        if self.composition is None or start is None:
            return self.changed_rows.since(start)
        return self.composition.touched(self.changed_rows, start)


def describe_all(
    source: PostgresDefinition, connection: psycopg.Connection[Any]
) -> tuple[Description, tuple[DescribedPart, ...], Composition | None]:
    """The source and all that its documents are made of; whether what it needs is there is not looked at.

    :raises ConfigurationError: a relation cannot be what the source says of it."""
    definitions = definitions_of(source)
    own, *others = catalogues([source, *definitions.values()], connection)
    description = describe(source, connection, own)
    if not source.children:
        return description, (), None
    known = dict(zip(definitions, others, strict=True))
    parts, nodes, fields = describe_parts(description, source.parts, connection, known)
    schema = replace(description.schema, fields=(*description.schema.fields, *fields))
    description = replace(description, schema=schema)
    stones = tombstones_of(description, connection).table if source.tombstones else None
    composition = Composition(
        key=source.key,
        cursor_field=source.cursor_field,
        cursor_type=sql.SQL(description.own_types[source.cursor_field]),
        root=identifier(source.table or ""),
        root_name=source.table or "",
        stones=stones,
        nodes=nodes,
        version=VERSIONS[schema.cursor_type],
        nullable=not description.cursor_is_not_null,
    )
    return description, parts, composition


def all_tombstones(source: PostgresDefinition, connection: psycopg.Connection[Any]) -> list[Tombstones]:
    """Of all tables that have some, whether they are installed or not. :raises ConfigurationError: one cannot have them."""
    description, parts, _ = describe_all(source, connection)
    own = [tombstones_of(description, connection)] if source.tombstones else []
    return [*own, *(part.losses for part in parts if part.losses is not None)]


def tombstones_of(description: Description, connection: psycopg.Connection[Any]) -> Tombstones:
    """Whether they are installed or not. :raises ConfigurationError: the source cannot have them."""
    return Tombstones.of(
        description.definition, description.catalogue, description.schema.cursor_type, at_server(connection).role
    )
