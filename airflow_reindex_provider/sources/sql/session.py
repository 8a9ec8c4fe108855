"""An open source of rows in a table: all that does not hang on how its horizon is found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ConfigurationError, HorizonError, ReindexError
from airflow_reindex_provider.core.findings import ok, warning, wrong
from airflow_reindex_provider.core.keys import Checksum, KeyRange, Listed
from airflow_reindex_provider.core.model import (
    Batch,
    Chunk,
    Counter,
    Finding,
    Format,
    Groups,
    Horizon,
    Key,
    Look,
    Outliers,
    Position,
    Schema,
    Slices,
    Survey,
    Window,
)
from airflow_reindex_provider.core.model.surveys import MOST_COUNTED
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.sources.sql import clock, cutting, grouping, lagging
from airflow_reindex_provider.sources.sql.asking import Asking
from airflow_reindex_provider.sources.sql.assembling import Assembling
from airflow_reindex_provider.sources.sql.composing import Composition, Span
from airflow_reindex_provider.sources.sql.definition import TableDefinition
from airflow_reindex_provider.sources.sql.described import Described
from airflow_reindex_provider.sources.sql.forms import Form, RowsForm
from airflow_reindex_provider.sources.sql.listing import Listing
from airflow_reindex_provider.sources.sql.reading import Reading
from airflow_reindex_provider.sources.sql.relation import Relation

CLOCKS_APART_S = 5.0
WAIT_S = 10.0
"""How long a run waits for a horizon."""
GLANCE_WAIT_S = 1.0


class TableSession(ABC):
    """See :class:`~airflow_reindex_provider.core.protocols.SourceSession`. What is left to each source: describing its table,
    its horizon, and how a statement is cancelled."""

    def __init__(self, source: TableDefinition, asking: Asking) -> None:
        self._source = source
        self._asking = asking
        self._found: Described | None = None

    @abstractmethod
    def describe(self) -> Described:
        """:raises ConfigurationError: the table cannot be a stream's source."""

    def described_to_read(self) -> Described:
        """The same where a plan has looked at what must be there."""
        return self.describe()

    @abstractmethod
    def horizon(self, *, wait_s: float) -> Horizon:
        """:param wait_s: at most, for what holds it. :raises HorizonError: it cannot be seen."""

    @abstractmethod
    def assumptions(self) -> Iterator[Finding]:
        """What the horizon rests on, for a check."""

    @abstractmethod
    def cancel(self) -> None: ...

    def survey(self) -> Survey:
        self._found = found = self.describe()
        kind = found.schema.cursor_type
        if kind is CursorType.INTEGER:
            counter = Counter(self._greatest(), None, "whoever writes the rows")
            return Survey(found.schema, self.horizon(wait_s=WAIT_S), None, found.warnings, counter)
        # In this order: two looks at a clock, and nothing past the second one is read.
        horizon = self.horizon(wait_s=WAIT_S)
        now = clock.now_text(kind, self.now(), found.schema.cursor_timezone)
        return Survey(found.schema, horizon, now, found.warnings)

    def glance(self) -> Horizon:
        """The horizon alone, about at once. :raises HorizonError: it cannot be seen."""
        return self.horizon(wait_s=GLANCE_WAIT_S)

    def lagged(self) -> Horizon:
        """The horizon by the lag that the author states."""
        schema = self._described.schema
        if schema.cursor_type is CursorType.INTEGER:
            return lagging.of_numbers(self._source, self._greatest())
        return lagging.of_time(self._source, schema.cursor_type, self.now(), schema.cursor_timezone)

    def check(self) -> Iterator[Finding]:
        """See ``Checked``."""
        try:
            self._found = found = self.describe()
        except ReindexError as error:
            yield wrong("table", error)
            return
        schema = found.schema
        yield ok(
            "table",
            f"{self._source.label}: {len(schema.fields)} columns, primary_key ({', '.join(schema.primary_key)}), cursor_field"
            f" {self._source.cursor_field!r} ({schema.cursor_type}).",
        )
        if found.warnings:
            yield from (warning("index", says) for says in found.warnings)
        else:
            yield ok("index", "There is one that begins with the cursor field, or none is needed.")
        yield from self.assumptions()
        try:
            horizon = self.glance()
        except ReindexError as error:
            yield wrong("horizon", error)
            return
        if horizon.held_by:
            yield warning("horizon", f"It is held back by {horizon.held_by}. Changes wait.")
        else:
            yield ok("horizon", f"{horizon.cursor or 'None yet'} ({horizon.basis}).")
        yield self._clock()

    def _clock(self) -> Finding:
        asked, said, answered = utc_now(), self.now(), utc_now()
        apart = max((asked - said).total_seconds(), (said - answered).total_seconds(), 0.0)
        if apart > CLOCKS_APART_S:
            return warning("clock", f"The server's clock and this machine's are {apart:,.0f} s apart.")
        return ok("clock", f"Less than {max(1.0, apart):.0f} s from this machine's.")

    def schema(self) -> Schema:
        return self._described.schema

    # -- windows and rows

    def has_changes(self, window: Window) -> bool:
        found = self._described
        if found.composition is not None:
            return found.composition.has_any(self._asking, window)
        return self._asking.first(found.relation.exists(window)) is not None

    def groups(self, window: Window, *, limit: int) -> Groups:
        """See ``GroupedSession.groups``. Of a source without ``group_by`` there are none."""
        found = self._described
        if found.group is None:
            return Groups()
        rows = found.relation.rows
        if found.composition is not None and window.start is not None:
            rows = found.composition.changed(Relation((rows,)), window).rows
            window = Window(None, window.end)
        return grouping.groups(self._asking, rows, found.group, window, limit=limit)

    def slices(self, window: Window, *, batch_rows: int, max_slices: int, fresh: bool = False) -> Slices:
        found = self._described
        self._refuse_repeated_keys(window)
        relation, within = found.members if fresh else found.relation, window
        if found.composition is not None:
            found.composition.require_times(self._asking, window)
            # Documents are cut in the order of their rows, of which those that a window touches may lie before it.
            within = Window(None, window.end)
            if window.start is not None:
                relation = found.composition.changed(relation, window)
        cut = cutting.slices(relation, self._asking, within, batch_rows=batch_rows, max_slices=max_slices)
        if found.composition is not None:
            cut = replace(cut, changed=window, tables=self._tables(found.composition, window, cut.rows))
        return replace(cut, null_cursors=self._nulls(), ahead_cursors=self._ahead(limit=MOST_COUNTED))

    def _tables(self, composition: Composition, window: Window, rows: int) -> Mapping[str, int]:
        return {composition.name: rows} if window.start is None else composition.tables(self._asking, window)

    def read(self, batch: Batch, *, format: Format, fields: Sequence[str], chunk_rows: int) -> Iterator[Chunk]:
        found = self._described
        relation = found.members if batch.fresh else found.relation
        if found.composition is not None:
            return Assembling(self._asking, found.composition, relation, batch, fields, chunk_rows).chunks()
        return Reading(self._asking, relation, batch, self._form(format, fields), chunk_rows).chunks()

    def _form(self, format: Format, fields: Sequence[str]) -> Form:
        """:param format: one of the source's."""
        return RowsForm(self._described.relation, fields)

    def outliers(self) -> Outliers:
        return Outliers(nulls=self._nulls(), ahead=self._ahead(limit=None) or 0)

    def look(self, since: Position | None, *, limit: int) -> Look:
        found = self._described
        schema, relation = found.schema, found.relation
        try:
            horizon = self.glance()
        except HorizonError as error:
            horizon = Horizon(None, "cannot be seen", str(error))
        now = self.now()
        until = None
        if schema.cursor_type in clock.AHEAD:
            until = clock.now_text(schema.cursor_type, now, schema.cursor_timezone)
        of_row = relation.rows.cursor
        if found.composition is not None and since is not None:
            span, past = Span(start=since.cursor, until=until), Span(after=until)
            waiting, ahead = (
                0 if s.after is None and s.start is None else self._count(found.composition.touched(relation, s), limit)
                for s in (span, past)
            )
            first = found.composition.oldest(self._asking, span)
        else:
            (waiting,) = self._asking.one(relation.since(since, until=until, limit=limit))
            (ahead,) = (0,) if until is None else self._asking.one(relation.ahead(until, limit=limit))
            firsts = [row[0] for s in relation.oldest(since) if (row := self._asking.first(s)) is not None]
            first = min(map(of_row.ordinal, firsts), default=None)
        oldest = None if first is None else of_row.kind.text(first)
        if oldest is not None and until is not None and of_row.kind.ordinal(oldest) > of_row.kind.ordinal(until):
            oldest = None
        at = None if oldest is None else schema.cursor_type.moment(oldest, schema.cursor_timezone)
        return Look(now, int(waiting), int(ahead), limit, oldest, at, horizon)

    def _count(self, relation: Relation, limit: int) -> int:
        return int(self._asking.one(relation.all_count(limit))[0])

    # -- keys

    def keys_from(self, cursor: str) -> Iterator[Sequence[Key]]:
        found = self._described
        listing = Listing(found.relation, self._asking, self._source.label)
        if found.composition is not None:
            return listing.keys_of(found.composition.touched(found.relation, Span(start=cursor)).all_keys())
        return listing.keys_from(cursor)

    def key_ranges(self, within: KeyRange, *, rows: int, max_ranges: int) -> Sequence[tuple[KeyRange, int]]:
        return self._listing().ranges(within, rows=rows, max_ranges=max_ranges)

    def keys(self, within: KeyRange, *, below: str) -> Iterator[Sequence[Listed]]:
        return self._listing().keys(within, below=below)

    def checksum(self, within: KeyRange, *, below: str) -> Checksum | None:
        """None: no two databases hash alike, so a sweep compares lists."""
        return None

    def look_up(self, keys: Sequence[Key], *, below: str) -> Mapping[Key, Listed]:
        return self._listing().look_up(keys, below=below)

    # -- what these need

    def now(self) -> datetime:
        """The database's clock, in UTC; the worker's where nobody knows how to ask for it."""
        found = self._described
        if found.clock is None:
            return datetime.now(UTC)
        import sqlalchemy as sa

        (value,) = self._asking.one(sa.select(found.clock))
        return found.clock_of(value)

    @property
    def _described(self) -> Described:
        if self._found is None:
            self._found = self.described_to_read()
        return self._found

    def _listing(self) -> Listing:
        return Listing(self._described.members, self._asking, self._source.label)

    def _greatest(self) -> int | None:
        row = self._asking.first(self._described.relation.greatest_cursor())
        return None if row is None else self._described.relation.rows.cursor.ordinal(row[0])

    def _nulls(self) -> int:
        found = self._described
        return 0 if found.cursor_is_not_null else int(self._asking.one(found.relation.nulls())[0])

    def _ahead(self, *, limit: int | None) -> int | None:
        schema = self._described.schema
        if schema.cursor_type not in clock.AHEAD:
            return None
        bound = clock.ahead_text(schema.cursor_type, self.now(), schema.cursor_timezone)
        found = self._described
        own = int(self._asking.one(found.relation.ahead(bound, limit=limit))[0])
        # A document is as late as its latest part.
        return own + (0 if found.composition is None else found.composition.parts_ahead(self._asking, bound, limit))

    def _refuse_repeated_keys(self, window: Window) -> None:
        if self._described.keeps_keys:
            return
        row = self._asking.first(self._described.relation.duplicate(window))
        if row is not None:
            raise ConfigurationError(
                f"{self._source.label}: key {'/'.join(map(str, row[:-1]))} stands for {row[-1]} rows, of which one at least lies"
                f" in {window}. Two rows would be one document: name a key that is unique."
            )
