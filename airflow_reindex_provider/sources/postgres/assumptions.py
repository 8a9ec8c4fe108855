"""What a horizon takes for granted of the rows that it speaks of, asked of the catalogue: that transactions of this server show
them, and that these stamp them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import HorizonError
from airflow_reindex_provider.sources.postgres import flags, stamps
from airflow_reindex_provider.sources.postgres.asking import asking
from airflow_reindex_provider.sources.postgres.catalog import read_members
from airflow_reindex_provider.sources.postgres.counters import require_order
from airflow_reindex_provider.sources.postgres.description import Description
from airflow_reindex_provider.sources.postgres.shape import CLOCK, Shape, read_shape
from airflow_reindex_provider.sources.postgres.sql import Relation
from airflow_reindex_provider.sources.postgres.standing import hindrances, unlogged


def examine(description: Description, relation: Relation, connection: psycopg.Connection[Any]) -> tuple[str, ...]:
    """What should be said of them. With a lag stated, the author has answered for when they appear.

    :raises HorizonError: rows may appear unseen, and no lag is stated; says which, and what to do."""
    flagged = tuple(flags.doubts(description, relation, connection))
    if description.definition.lag is not None:
        return flagged
    facts, shape = description.catalogue.facts, None
    if description.catalogue.is_view:
        with asking(description.definition, connection):
            shape = read_shape(connection, relation.body, *_read(description))
            facts = facts | read_members(connection, shape)
    _require_shown_here(description, facts, shape)
    return (*flagged, *_warnings(description, facts, shape))


def _read(description: Description) -> tuple[tuple[str, ...] | None, int]:
    """The columns that are read, all if None, and which of them is the cursor. A role may have the right to no others."""
    source = description.definition
    if source.table is None or source.columns is None:
        return None, [c.name for c in description.columns].index(source.cursor_field)
    names = (source.cursor_field, *source.key, *source.columns, source.soft_delete_column, source.group_by)
    return tuple(dict.fromkeys(name for name in names if name)), 0


def _require_shown_here(description: Description, facts: dict[str, Any], shape: Shape | None) -> None:
    source = description.definition
    unit = "a number of values" if description.schema.cursor_type is CursorType.INTEGER else "a timedelta"
    for what, remedy, covers in hindrances(facts["standing"]):
        raise HorizonError(
            f"{source.label}: {what}. So the open transactions here do not tell what may still appear, and a late row would be"
            f" skipped. {remedy}, or state lag ({unit}{': ' if covers else ''}{covers})."
        )
    if shape is not None and shape.doubt:
        raise HorizonError(
            f"{source.label} {shape.doubt}, so its rows may appear or change by rows that carry other stamps, and a late one"
            f" would be skipped. Read one table, with a column of it as the cursor field, or state lag ({unit}: the longest time"
            " from the stamp in the cursor field to the commit of all that a row is made of)."
        )
    if shape is not None and description.schema.cursor_type is CursorType.INTEGER:
        require_order(source, [sequence for stamp in facts["stamps"] or () for sequence in stamp["sequences"] or ()])


def _warnings(description: Description, facts: dict[str, Any], shape: Shape | None) -> Iterator[str]:
    label = description.definition.label
    zone = description.definition.cursor_timezone
    yield from stamps.doubts(label, description.schema.cursor_type, zone, facts["stamps"], facts["replica_roles"])
    yield from stamps.unstamped(label, description.definition.cursor_field, facts["referring"])
    if shape is not None and shape.asks_time:
        yield (
            f"{label}: the condition {shape.asks_time} hangs on the time of reading. A row that it lets in without a change of"
            " the row is not seen until a sweep."
        )
    if shape is not None and shape.shows_time:
        yield (
            f"{label}: the column {shape.shows_time} hangs on the time of reading: a document says what it was when its row last"
            " changed, and a sweep of content finds it different each time. Leave it out, and let whoever searches compute it."
        )
    if description.definition.row_filter and CLOCK.search(description.definition.row_filter):
        yield (
            f"{label}: the row_filter hangs on the time of reading. A row that it lets in or out without a change of the row is"
            " not seen until a sweep."
        )
    if shape is not None and facts["functions"]:
        yield (
            f"{label} calls {', '.join(facts['functions'])}, which may look elsewhere than into the row. Where the answer becomes"
            " another without a change of the row, that is not seen until a sweep."
        )
    if name := unlogged(facts["standing"]):
        yield (
            f"{label}: {name} is unlogged, so a crash of its server empties it. The index keeps its documents then, and runs go"
            " on with what is written anew: sweep or rebuild it after a crash."
        )
    if origins := facts["origins"]:
        yield (
            f"{label}: another system replays changes into this server (replication origin {', '.join(map(repr, origins))})."
            " Where it writes to this source, rows come with stamps of before their commit here: state lag."
        )
