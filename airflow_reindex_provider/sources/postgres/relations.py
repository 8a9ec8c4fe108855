"""What a session reads: the changes of a source, or the rows of its group alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from airflow_reindex_provider.databases.postgres.transactions import at_server
from airflow_reindex_provider.sources.postgres.definition import PostgresDefinition
from airflow_reindex_provider.sources.postgres.description import Description, describe
from airflow_reindex_provider.sources.postgres.sql import Relation
from airflow_reindex_provider.sources.postgres.tombstones import Tombstones


@dataclass(frozen=True, slots=True)
class Relations:
    """:ivar changes: all rows and the tombstones; rows of other groups count as deleted.
    :ivar members: the rows alone, without tombstones, and of those of the source's group, should it have one."""

    description: Description
    changes: Relation
    members: Relation

    @classmethod
    def described(cls, source: PostgresDefinition, connection: psycopg.Connection[Any]) -> Relations:
        """:raises ConfigurationError: the relation cannot be a stream's source, or its deletions are not recorded as stated."""
        description = describe(source, connection)
        tombstones = tombstones_of(description, connection) if source.tombstones else None
        if tombstones is not None:
            tombstones.require()
        schema, types = description.schema, description.own_types
        return cls(
            description,
            Relation.of(source, schema, types, tombstones=tombstones),
            Relation.of(source, schema, types, members=True),
        )

    def of(self, *, fresh: bool) -> Relation:
        """:param fresh: see :class:`~airflow_reindex_provider.core.model.Batch`."""
        return self.members if fresh else self.changes


def tombstones_of(description: Description, connection: psycopg.Connection[Any]) -> Tombstones:
    """Whether they are installed or not. :raises ConfigurationError: the source cannot have them."""
    return Tombstones.of(
        description.definition, description.catalogue, description.schema.cursor_type, at_server(connection).role
    )
