"""Cuts windows into batches at rows of the source: no row leaves it for that."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Position, Slices, Window
from airflow_reindex_provider.sources.postgres.composing import Composition
from airflow_reindex_provider.sources.postgres.description import Description
from airflow_reindex_provider.sources.postgres.outliers import in_passing
from airflow_reindex_provider.sources.postgres.relations import Relations
from airflow_reindex_provider.sources.postgres.sql import Relation
from airflow_reindex_provider.sources.sql.hops import HOPS_PER_BATCH, joined


@dataclass(frozen=True, slots=True)
class Cutting:
    relations: Relations
    connection: psycopg.Connection[Any]

    def slices(self, window: Window, *, batch_rows: int, max_slices: int, fresh: bool = False) -> Slices:
        """See ``PlanningSource.slices``."""
        self._refuse_unfit_keys(window)
        described, composition = self.relations.description, self.relations.composition
        outliers = in_passing(self.relations, window)
        if composition is None:
            # Each hop would pass all tombstones that rows hide; numbering passes them once.
            hop = described.is_indexed(fresh=fresh) and (fresh or not described.definition.tombstones)
            return self._cut(window, self.relations.of(fresh=fresh), batch_rows, max_slices, hop=hop, outliers=outliers)
        # Documents are cut in the order of their rows, of which those that a window touches may lie before it.
        cut = Window(None, window.end)
        if window.start is None:
            hop = described.is_indexed(fresh=fresh) and not described.definition.tombstones
            rows = self.relations.rows_to_cut(fresh=fresh)
        else:
            hop, rows = False, self.relations.documents(composition, window, fresh=fresh)
        found = self._cut(cut, rows, batch_rows, max_slices, hop=hop, outliers=outliers)
        return replace(found, changed=window, tables=self._tables(composition, window, found.rows))

    def _tables(self, composition: Composition, window: Window, rows: int) -> dict[str, int]:
        if window.start is None:
            return {composition.root_name: rows}
        return dict(self.connection.execute(composition.tables(window)).fetchall())

    def _cut(
        self,
        window: Window,
        relation: Relation,
        batch_rows: int,
        max_slices: int,
        *,
        hop: bool,
        outliers: sql.Composable | None,
    ) -> Slices:
        step = max(1, batch_rows // HOPS_PER_BATCH)
        starts, rows, found = self._starts(relation.starts(window, step, hop=hop, outliers=outliers), step)
        if self.relations.description.cursor_is_not_null:
            found["nulls"] = 0
        counted = Slices((), found.get("nulls"), found.get("ahead"), found.get("endless"))
        if not starts:
            return counted
        if rows is None:
            row = self.connection.execute(relation.count(Window(starts[-1], window.end))).fetchone()
            assert row is not None
            (last,) = row
        else:
            last = rows - (len(starts) - 1) * step
        return replace(counted, parts=joined(window, starts, step, last, batch_rows, max_slices))

    def _starts(self, statement: sql.Composed, step: int) -> tuple[list[Position], int | None, dict[str, int]]:
        """Every so many rows of a window, the first included; how many it has, where they were numbered; and what was counted
        of the rows outside of all windows."""
        starts: list[Position] = []
        rows: int | None = None
        counted: dict[str, int] = {}
        for cursor, *key, number, found in self.connection.execute(statement):
            if found is not None:
                counted = found
                continue
            if number is None or number % step == 0:
                starts.append(Position(cursor, tuple(key)))
            rows = None if number is None else number + 1
        return starts, rows, counted

    def _refuse_unfit_keys(self, window: Window) -> None:
        described, relation = self.relations.description, self.relations.changes
        if described.catalogue.keeps_keys:
            return
        label, key = described.definition.label, described.definition.key
        row = self.connection.execute(relation.without_key(window)).fetchone()
        if row:
            raise ConfigurationError(
                f"{label}: primary_key column {key[row.index(False)]!r} is NULL in a row of {window}, which can be no document:"
                " name a key that every row has, or leave such rows out."
            )
        row = self.connection.execute(relation.duplicate(window)).fetchone()
        if row:
            raise ConfigurationError(
                f"{label}: key {'/'.join(row[:-1])} stands for {row[-1]} rows, of which one at least lies in {window}. Two rows"
                f" would be one document: {_remedy(described)}"
            )


def _remedy(described: Description) -> str:
    catalogue = described.catalogue
    if catalogue.children:
        return (
            f"a unique index of {described.table} says nothing of the rows of {catalogue.named_children}, which belong to it."
            " Give the rows of each another key, name a primary_key that holds across them, or make the table a partitioned one."
        )
    return "name a key that is unique, or make the query give one row a key."
