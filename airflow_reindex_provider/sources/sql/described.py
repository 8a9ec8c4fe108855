"""What a database has said of a table before a row is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from airflow_reindex_provider.core.model import Schema
from airflow_reindex_provider.sources.sql.composing import Composition
from airflow_reindex_provider.sources.sql.relation import KeyColumn, Relation


@dataclass(frozen=True, slots=True)
class Described:
    """:ivar relation: what changes; rows of other groups count as gone. :ivar members: without tombstones, and of the source's
    group alone, should it have one. :ivar keeps_keys: whether the database itself sees to it that the key is unique and never
    NULL. :ivar cursor_is_not_null: whether it does so for the cursor field. :ivar clock: selects its time in UTC; None where
    nobody knows how to ask it, and the worker's clock counts. :ivar clock_of: what the driver gives for that. :ivar group: the
    column that groups the rows. :ivar composition: how documents of several tables are made; None where a document is a row."""

    schema: Schema
    relation: Relation
    members: Relation
    keeps_keys: bool
    cursor_is_not_null: bool
    clock: sa.ColumnElement[object] | None
    clock_of: Callable[[object], datetime]
    group: KeyColumn | None = None
    warnings: tuple[str, ...] = field(default=())
    composition: Composition | None = None
