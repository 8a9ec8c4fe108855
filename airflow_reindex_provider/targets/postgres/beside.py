"""What of passages an open target needs beside its generations: their tables, and the view of those of the live one."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from airflow_reindex_provider.core.embedding.recipe import Recipe, require_recipe
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Document, Recalled, Schema
from airflow_reindex_provider.core.observing import Meter
from airflow_reindex_provider.databases.postgres.sqlstates import REFUSALS
from airflow_reindex_provider.databases.postgres.transactions import transaction
from airflow_reindex_provider.targets.postgres.checks import build_index
from airflow_reindex_provider.targets.postgres.definition import SUFFIX
from airflow_reindex_provider.targets.postgres.marks import MARK, mark_of, stream_of
from airflow_reindex_provider.targets.postgres.passage_writer import PassageWriter, known
from airflow_reindex_provider.targets.postgres.passages import (
    recipe_of,
    view_columns,
    view_query,
)
from airflow_reindex_provider.targets.postgres.statements import BY_INDEX, VERSION
from airflow_reindex_provider.targets.postgres.swap import dependents_named, point_view
from airflow_reindex_provider.targets.postgres.tables import (
    held_by,
    passage_index_definitions,
)

if TYPE_CHECKING:
    from airflow_reindex_provider.targets.postgres.definition import PostgresIndexDefinition

log = logging.getLogger(__name__)

_VIEW = """
SELECT c.relkind, obj_description(c.oid, 'pg_class') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relname = %(name)s
"""


@dataclass(slots=True)
class Beside:
    """A generation without passages has none of these things, and then all of this does nothing.

    :ivar schema: of the index. :ivar name: its public name."""

    target: PostgresIndexDefinition
    stream: str
    connection: psycopg.Connection[Any]
    schema: str
    name: str
    _lenders: dict[str, list[sql.Identifier]] = field(default_factory=dict, init=False)

    def table(self, generation: str) -> sql.Identifier:
        return sql.Identifier(self.schema, generation + SUFFIX)

    def recipe(self, generation: str) -> Recipe | None:
        return recipe_of(self.connection, self.table(generation))

    def require_recipe(self, generation: str) -> None:
        """:raises ConfigurationError: the generation was made by another one than the stream has."""
        require_recipe(self.recipe(generation), self.target.passages, generation, self.target.label)

    def require_name(self) -> None:
        """:raises ConfigurationError: the name of the view of passages is taken by something that is not ours."""
        found = self._found()
        if found is not None and not self._is_ours(found):
            raise ConfigurationError(
                f"{self.target.label}: its passages are to be seen as {self.name + SUFFIX!r}, and there is something else of"
                f" this name in schema {self.schema!r}. Rename that, or give the index another name."
            )

    # -- life of a generation

    def build_indexes(self, generation: str) -> None:
        recipe = self.recipe(generation)
        if recipe is None:
            return
        table = self.table(generation)
        for definition in passage_index_definitions(self.target):
            log.info("Building an index on the passages of %s: %s", generation, definition)
            build_index(self.connection, self.target, table, definition)
        self.connection.execute(sql.SQL("ANALYZE {}").format(table))

    def show(self, generation: str) -> None:
        """In the transaction of a swap: the view is of the passages of this generation from now on, or there is none."""
        if self.recipe(generation) is None:
            self.drop_view()
            return
        self.require_name()
        table = sql.Identifier(self.schema, generation)
        key = held_by(self.connection, table).key
        point_view(
            self.connection,
            self._view,
            view_query(table, self.table(generation), key),
            view_columns(key),
            self.target.label,
        )
        self.hand_over(self.stream)

    def hand_over(self, stream: str) -> None:
        self.stream = stream
        if self._found() is not None:
            comment = json.dumps({MARK: {"stream": stream, "passages": True}})
            self.connection.execute(sql.SQL("COMMENT ON VIEW {} IS {}").format(self._view, sql.Literal(comment)))

    def drop(self, generation: str) -> None:
        with dependents_named(self.connection, self.table(generation), self.target.label):
            self.connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(self.table(generation)))

    def drop_view(self) -> None:
        found = self._found()
        if found is not None and self._is_ours(found):
            with dependents_named(self.connection, self._view, self.target.label):
                self.connection.execute(sql.SQL("DROP VIEW {}").format(self._view))

    def carried(self, source: str, target: str) -> tuple[sql.Identifier, sql.Identifier] | None:
        """The tables between which passages can be carried over; None where they are not of one model."""
        here, there = self.recipe(source), self.recipe(target)
        if here is None or there is None or here.model != there.model:
            return None
        return self.table(source), self.table(target)

    # -- writing

    def writer(self, generation: str, live: Callable[[], str | None]) -> Callable[[Meter], PassageWriter] | None:
        recipe = self.target.passages
        if recipe is None:
            return None
        return partial(
            PassageWriter,
            self.table(generation),
            dimensions=recipe.dimensions,
            lenders=self._lenders_of(generation, live),
        )

    def recall(
        self, generation: str, documents: Sequence[Document], schema: Schema, live: Callable[[], str | None]
    ) -> Recalled:
        hashes = list({passage.hash for document in documents for passage in document.passages})
        held = known(self.connection, hashes, self._lenders_of(generation, live)) if hashes else set()
        overtaken = self._overtaken(generation, documents, schema) if len(held) < len(hashes) else frozenset()
        return Recalled(frozenset(held), {}, overtaken)

    def _overtaken(self, generation: str, documents: Sequence[Document], schema: Schema) -> frozenset[Any]:
        table = sql.Identifier(self.schema, generation)
        types = held_by(self.connection, table).columns
        names = [sql.Identifier(f"k{n}") for n in range(len(schema.primary_key))]
        equal = sql.SQL(" AND ").join(
            sql.SQL("t.{} = w.{}::{}").format(sql.Identifier(column), name, sql.SQL(types[column]))
            for column, name in zip(schema.primary_key, names, strict=True)
        )
        # A query for each: planned as a join, it may well read all of the table.
        statement = sql.SQL(
            "SELECT {names} FROM unnest({lists}, %s::bigint[]) AS w({names}, version)"
            " WHERE (SELECT t.{version} FROM {table} AS t WHERE {equal} LIMIT 1) > w.version"
        ).format(
            names=sql.SQL(", ").join(names),
            lists=sql.SQL(", ").join(sql.SQL("%s::text[]") for _ in names),
            table=table,
            equal=equal,
            version=sql.Identifier(VERSION),
        )
        parts = [[document.key[n] for document in documents] for n in range(len(names))]
        try:
            with transaction(self.connection):
                self.connection.execute(BY_INDEX)
                found = self.connection.execute(statement, [*parts, [document.version for document in documents]])
                return frozenset(tuple(key) for key in found)
        except REFUSALS:
            # A key that this table cannot even have. Writing it will say so.
            return frozenset()

    def _lenders_of(self, generation: str, live: Callable[[], str | None]) -> list[sql.Identifier]:
        """The generation's own passages, and where another one is live, its."""
        if generation not in self._lenders:
            other = live()
            others = [other] if other not in (None, generation) and self.recipe(str(other)) is not None else []
            self._lenders[generation] = [self.table(str(name)) for name in (generation, *others)]
        return self._lenders[generation]

    # -- the view

    @property
    def _view(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name + SUFFIX)

    def _found(self) -> tuple[str, str | None] | None:
        """Kind and comment of what has the view's name."""
        names = {"schema": self.schema, "name": self.name + SUFFIX}
        return self.connection.execute(_VIEW, names).fetchone()

    def _is_ours(self, found: tuple[str, str | None]) -> bool:
        kind, comment = found
        return kind == "v" and stream_of(comment) == self.stream and "passages" in mark_of(comment)
