"""Reads documents of several tables: finds where their rows are, and then makes a page of them after the other.

A page is read in one short transaction that sees all tables as they are at one moment: the rows with the versions of their
documents, and then for each part all that these documents have of it, in the order of its list, joined by the database itself,
whose idea it is which keys are equal. The objects are put together here. So values in them are those that the columns have in a
document's own row, to the last digit; MariaDB without LATERAL does the same as MySQL, and MySQL without an order in its
aggregates the same as MariaDB; no setting of a server cuts what is aggregated. What is read at once is bounded: a page with too
much in it is read anew in two halves, and a document alone ends at the limit of its lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from airflow_reindex_provider.core.errors import ConfigurationError, ReindexError
from airflow_reindex_provider.core.model import Batch, Chunk, Document, Format, Key, Position, Rejection, Window
from airflow_reindex_provider.sources.sql.asking import Asking
from airflow_reindex_provider.sources.sql.composing import Composition, Span
from airflow_reindex_provider.sources.sql.forms import content, width
from airflow_reindex_provider.sources.sql.levels import Level, Owners, Row, statements, too_long
from airflow_reindex_provider.sources.sql.relation import Part, Relation, texts

PLACES = 20_000
"""So many places are held at once."""
PAGE_DOCUMENTS = 500
PAGE_ROWS = 20_000
"""Of one part, of all documents of a page."""
PAGE_BYTES = 2 * 1024 * 1024
_FIRST_PAGE = 50


@dataclass(frozen=True, slots=True)
class Place:
    """Where a document is read: its row's place, or a tombstone's."""

    at: Position
    is_stone: bool


@dataclass(slots=True)
class Made:
    """A document that is being made."""

    key: Key
    version: int
    row: Row
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Assembling:
    """Documents with Python values. ``fields`` are columns of the row, and names of parts."""

    asking: Asking
    composition: Composition
    relation: Relation
    batch: Batch
    fields: Sequence[str]
    chunk_rows: int

    def chunks(self) -> Iterator[Chunk]:
        window, most = self.batch.window, _FIRST_PAGE
        while True:
            places = list(self._places(window))
            # The last one only says where to go on.
            end = places.pop().at if len(places) > PLACES else window.end
            begin = 0
            while begin < len(places):
                most = min(most, self.chunk_rows, PAGE_DOCUMENTS)
                page = places[begin : begin + most]
                following = places[begin + len(page)].at if begin + len(page) < len(places) else end
                try:
                    yield self._chunk(page, following)
                except _TooMuchError:
                    most = max(1, len(page) // 2)
                    continue
                begin += len(page)
                most *= 2
            if end == window.end:
                if not places:
                    yield Chunk(end, Format.ROWS, [])
                return
            window = Window(end, window.end)

    @property
    def _changed(self) -> Window:
        return self.batch.changed or Window(None, Position(self.batch.window.end.cursor))

    def _places(self, window: Window) -> Iterator[Place]:
        relation = self.relation
        if self._changed.start is not None:
            relation = self.composition.touched(relation, Span.of(self._changed))
        rows = relation.rows
        flags: dict[int, sa.ColumnElement[Any]] = {
            id(p): sa.literal_column("1" if n else "0") for n, p in enumerate(relation.parts)
        }
        statement = relation.page(window, lambda part: [flags[id(part)]], PLACES + 1, self.batch.keys)
        for piece in self.asking.pieces(statement):
            for cursor, *key, flag in piece:
                yield Place(Position(rows.cursor.text(cursor), texts(rows.key, key)), bool(int(flag)))

    # -- a page

    def _chunk(self, page: Sequence[Place], end: Position) -> Chunk:
        documents = [
            Document(p.at.key, self.relation.rows.cursor.kind.ordinal(p.at.cursor), None) for p in page if p.is_stone
        ]
        keys = [p.at.key for p in page if not p.is_stone]
        rejected: list[Rejection] = []
        if keys:
            try:
                with self.asking.snapshot(self.composition.snapshot) as asking:
                    documents += self._documents(asking, keys, rejected)
            except (ReindexError, _TooMuchError):
                raise
            except Exception as error:
                # What the driver or SQLAlchemy cannot make a value of, see ``reading.py``.
                if len(page) > 1:
                    raise _TooMuchError from error
                rejected.append(Rejection(keys[0], f"it cannot be read: {error}"))
        return Chunk(end, Format.ROWS, documents, tuple(rejected))

    def _documents(self, asking: Asking, keys: Sequence[Key], rejected: list[Rejection]) -> list[Document]:
        gone, made = self._rows(asking, keys, rejected)
        size = 0
        levels = [Level.of(node) for node in self.composition.nodes if node.part.name in self.fields]
        if made:
            try:
                for level in levels:
                    size = self._read(asking, level, made, size)
            except _BadDocumentError as error:
                (one,) = made.values()
                rejected.append(Rejection(one.key, str(error)))
                return gone
        documents = gone
        for one in made.values():
            if (said := next(filter(None, (_longest(one.row, level) for level in levels)), None)) is not None:
                rejected.append(Rejection(one.key, said))
                continue
            known = {**one.values, **one.row.object}
            documents.append(Document(one.key, one.version, {name: known[name] for name in self.fields}))
        return documents

    def _rows(
        self, asking: Asking, keys: Sequence[Key], rejected: list[Rejection]
    ) -> tuple[list[Document], dict[Key, Made]]:
        """Those that are gone, and those whose version lies in the window, without their parts."""
        part, ordinal = self.relation.rows, self.relation.rows.cursor.kind.ordinal
        least = None if self._changed.start is None else ordinal(self._changed.start.cursor)
        bound = ordinal(self._changed.end.cursor)
        own = [name for name in self.fields if name in part.columns]
        columns = [(name, part.columns[name].value) for name in own]
        statement = part.select(
            *part.told_key(),
            part.version.label("v"),
            part.gone.label("g"),
            *(part.columns[name].selected.label(f"v{n}") for n, name in enumerate(own)),
            where=[part.of_keys(keys)],
        )
        gone: list[Document] = []
        made: dict[Key, Made] = {}
        size = 0
        for piece in asking.pieces(statement, rows=100):
            for row in piece:
                size += width(row)
                if size > PAGE_BYTES and len(keys) > 1:
                    raise _TooMuchError
                key = texts(part.key, row[: len(part.key)])
                version, is_gone, *values = row[len(part.key) :]
                if version is None or int(version) >= bound or (least is not None and int(version) < least):
                    # It has moved on, to a later window; or it was touched, and its version is another's.
                    continue
                if is_gone:
                    gone.append(Document(key, int(version), None))
                    continue
                try:
                    made[key] = Made(key, int(version), Row({}, True), content(columns, values))
                except Exception as error:
                    rejected.append(Rejection(key, str(error)))
        return gone, made

    def _read(self, asking: Asking, level: Level, made: Mapping[Key, Made], size: int) -> int:
        """All that these documents have of a part, and of what is nested in it."""
        alone = len(made) == 1
        limit = level.bound.max_rows if alone and level.bound else PAGE_ROWS
        part = self.relation.rows
        rows = Part(self.composition.root, part.cursor, part.key, part.columns, part.gone)
        owners: Owners = {("", key): [one.row] for key, one in made.items()}
        for one in made.values():
            one.row.begin(level)
        for step, found in statements(level, rows, list(made), limit):
            count = 0
            for piece in asking.pieces(found, rows=500):
                count += len(piece)
                size += sum(map(width, piece))
                if not alone and (count > limit or size > PAGE_BYTES):
                    raise _TooMuchError
                if count > limit and step.level.bound:
                    raise _BadDocumentError(too_long(step.level.bound))
                try:
                    step.take(piece, owners)
                except ConfigurationError as error:
                    if not alone:
                        raise _TooMuchError from error
                    raise _BadDocumentError(str(error)) from error
        return size


def _longest(row: Row, level: Level) -> str | None:
    """What is to be said of a list that is longer than its author allows; None where none is."""
    part = level.row.part
    if part.many and row.count(level) > part.max_rows:
        return too_long(part)
    found = (_longest(inner, below) for inner in row.rows(level) for below in level.levels)
    return next(filter(None, found), None)


class _TooMuchError(Exception):
    """There is too much in a page, or something in it that has to be found."""


class _BadDocumentError(Exception):
    """The one document of a page cannot be made; says why."""
