"""A source in memory that behaves like an MVCC database: for tests of streams, targets and rules without one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ConfigurationError, TransientError
from airflow_reindex_provider.core.keys import Checksum, KeyRange, Listed, key_kinds, placing
from airflow_reindex_provider.core.model import (
    Batch,
    Chunk,
    Document,
    Field,
    Format,
    Groups,
    Horizon,
    Key,
    Look,
    Position,
    Schema,
    Slices,
    Survey,
    Window,
)
from airflow_reindex_provider.testing.memory_listing import holds, memory_checksum

_KIND = CursorType.TIMESTAMPTZ


@dataclass(frozen=True, slots=True)
class Row:
    """One state of a row, as a transaction wrote it."""

    key: Key
    cursor_us: int
    values: Mapping[str, Any]
    deleted: bool = False

    @property
    def place(self) -> tuple[int, Key]:
        return self.cursor_us, self.key

    @property
    def position(self) -> Position:
        return Position(_KIND.text(self.cursor_us), self.key)


class Transaction:
    """An open transaction. All that it writes carries the time at which it began, however late it commits."""

    def __init__(self, source: MemorySource, started_us: int) -> None:
        self.started_us = started_us
        self._source = source
        self._written: dict[Key, Row] = {}

    def put(self, values: Mapping[str, Any]) -> None:
        """Insert the row, or update the columns given; a deleted row is there again.

        :param values: the primary key's columns and any others.
        :raises TransientError: another open transaction has written the row; a database would wait for it to end.
        """
        key = tuple(str(values[column]) for column in self._source.primary_key)
        before = self._lock(key)
        kept = before.values if before else dict.fromkeys(self._source.columns)
        self._written[key] = Row(key, self.started_us, {**kept, **values})

    def delete(self, *key: str) -> None:
        """Mark the row as deleted. A row that is not there stays away, as with an UPDATE that finds nothing.

        :raises TransientError: another open transaction has written the row.
        """
        before = self._lock(key)
        if before is not None:
            self._written[key] = replace(before, cursor_us=self.started_us, deleted=True)

    def commit(self) -> None:
        """Everything becomes visible at once, with the timestamp of the beginning."""
        self._source._end(self, self._written)

    def rollback(self) -> None:
        self._source._end(self, {})

    def _lock(self, key: Key) -> Row | None:
        return self._written.get(key) or self._source._lock(self, key)


class MemorySource:
    """A table in memory with a ``timestamptz`` cursor field and soft deletes; conforms to ``Source``.

    Reads see what is committed when they begin. The horizon is ``min(start of the oldest open transaction, now) -
    margin``, as Postgres' own is. Keys are ordered as text. Not safe for writing from several threads.

    :param columns: column name to type; the cursor field is added to them.
    :param group_by: the column that groups the rows, for a stream with groups.
    :param now_us: the clock, in microseconds since 1970-01-01 UTC. It stands still until it is set (``source.now_us +=
        5``) and must not be set back.
    :param margin_us: how far the horizon keeps from the oldest transaction.
    """

    formats: tuple[Format, ...] = (Format.ROWS,)
    label = "a table in memory"

    def __init__(
        self,
        *,
        columns: Mapping[str, str] | None = None,
        primary_key: Sequence[str] = ("id",),
        cursor_field: str = "updated_at",
        group_by: str | None = None,
        now_us: int = 0,
        margin_us: int = 0,
    ) -> None:
        self.columns = dict(columns or {"id": "text", "title": "text"})
        self.primary_key = tuple(primary_key)
        self.cursor_field = cursor_field
        self.group_by = group_by
        self.now_us = now_us
        self.margin_us = margin_us
        self._committed: dict[Key, Row] = {}
        self._open: list[Transaction] = []
        self._locks: dict[Key, Transaction] = {}

    def begin(self) -> Transaction:
        """Open a transaction; its timestamp is the clock's, now."""
        transaction = Transaction(self, self.now_us)
        self._open.append(transaction)
        return transaction

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Commits at the end of the block, rolls back on an error."""
        transaction = self.begin()
        try:
            yield transaction
        except BaseException:
            transaction.rollback()
            raise
        transaction.commit()

    def rows(self) -> Mapping[Key, Row]:
        """The committed state of every row, deleted ones included."""
        return dict(self._committed)

    def horizon(self) -> Horizon:
        oldest = min((t.started_us for t in self._open), default=self.now_us)
        held_by = f"a transaction open since {_KIND.text(oldest)}" if oldest < self.now_us else None
        return Horizon(_KIND.text(min(oldest, self.now_us) - self.margin_us), "open transactions", held_by)

    @property
    def has_groups(self) -> bool:
        return self.group_by is not None

    def of_group(self, value: str) -> MemoryGroup:
        return MemoryGroup(self, value)

    @contextmanager
    def open(self) -> Iterator[MemorySourceSession]:
        yield MemorySourceSession(self)

    def serialize(self) -> dict[str, Any]:
        """The table's shape and clock; its rows stay in this process."""
        return {
            "columns": self.columns,
            "primary_key": list(self.primary_key),
            "cursor_field": self.cursor_field,
            "group_by": self.group_by,
            "now_us": self.now_us,
            "margin_us": self.margin_us,
        }

    @classmethod
    def deserialize(cls, arguments: Mapping[str, Any]) -> MemorySource:
        return cls(**arguments)

    def _lock(self, transaction: Transaction, key: Key) -> Row | None:
        holder = self._locks.setdefault(key, transaction)
        if holder is not transaction:
            raise TransientError(f"Row {'/'.join(key)} is locked by another transaction: end that one first.")
        return self._committed.get(key)

    def _end(self, transaction: Transaction, written: Mapping[Key, Row]) -> None:
        self._open.remove(transaction)
        self._locks = {key: holder for key, holder in self._locks.items() if holder is not transaction}
        self._committed.update(written)


@dataclass(frozen=True)
class MemoryGroup:
    """One group of a table in memory; conforms to ``Source``."""

    table: MemorySource
    group: str

    formats: ClassVar[tuple[Format, ...]] = MemorySource.formats

    @property
    def label(self) -> str:
        return f"group {self.group!r} of {self.table.label}"

    @contextmanager
    def open(self) -> Iterator[MemorySourceSession]:
        yield MemorySourceSession(self.table, self.group)

    def serialize(self) -> dict[str, Any]:
        return {"table": self.table.serialize(), "group": self.group}

    @classmethod
    def deserialize(cls, arguments: Mapping[str, Any]) -> MemoryGroup:
        return cls(MemorySource.deserialize(arguments["table"]), arguments["group"])


class MemorySourceSession:
    """Conforms to ``SourceSession``; to ``GroupedSession`` where the table has groups."""

    def __init__(self, source: MemorySource, group: str | None = None) -> None:
        self._source = source
        self._group = group

    def cancel(self) -> None:
        """Nothing to do: no read of this source waits."""

    def survey(self) -> Survey:
        return Survey(self.schema(), self._source.horizon(), _KIND.text(self._source.now_us))

    def schema(self) -> Schema:
        source = self._source
        columns = {**source.columns, source.cursor_field: str(_KIND)}
        return Schema(
            fields=tuple(Field(name, type, type, name not in source.primary_key) for name, type in columns.items()),
            primary_key=source.primary_key,
            cursor_type=_KIND,
            has_deletes=True,
        )

    def look(self, since: Position | None, *, limit: int) -> Look:
        now = self._source.now_us
        until = Window(since, Position(_KIND.text(now + 1)))
        rows = self._rows(until)
        ahead = [row for row in self._source.rows().values() if row.cursor_us > now]
        oldest = rows[0].position.cursor if rows else None
        moment = _KIND.moment(oldest, None) if oldest else None
        at = _KIND.moment(_KIND.text(now), None)
        assert at is not None
        return Look(at, min(len(rows), limit), min(len(ahead), limit), limit, oldest, moment, self._source.horizon())

    def has_changes(self, window: Window) -> bool:
        return bool(self._rows(window))

    def groups(self, window: Window, *, limit: int) -> Groups:
        found = [row.values.get(self._source.group_by or "") for row in self._rows(window)]
        return Groups(tuple(sorted({str(v) for v in found if v is not None}))[:limit], found.count(None))

    def slices(self, window: Window, *, batch_rows: int, max_slices: int, fresh: bool = False) -> Slices:
        rows = self._members(self._rows(window)) if fresh else self._rows(window)
        if not rows:
            return Slices((), 0)
        count = min(max_slices, -(-len(rows) // batch_rows))
        cuts = [len(rows) * n // count for n in range(count + 1)]
        starts = [window.start, *(rows[cut].position for cut in cuts[1:-1])]
        ends = [*starts[1:], window.end]
        parts = [
            (Window(start, end or window.end), upper - lower)
            for start, end, lower, upper in zip(starts, ends, cuts, cuts[1:], strict=False)
        ]
        return Slices(tuple(parts), 0)

    def read(self, batch: Batch, *, format: Format, fields: Sequence[str], chunk_rows: int) -> Iterator[Chunk]:
        if format is not Format.ROWS:
            raise ConfigurationError(f"A source in memory gives {Format.ROWS} only, not {format}.")
        rows = self._rows(batch.window)
        if batch.fresh:
            rows = self._members(rows)
        if batch.keys:
            asked = set(batch.keys)
            rows = [row for row in rows if row.key in asked]
        # The rows are fixed here and not at the first chunk: one statement, one snapshot.
        return self._chunks(rows, batch.window.end, fields, chunk_rows)

    def keys_from(self, cursor: str) -> Iterator[Sequence[Key]]:
        least = _KIND.ordinal(cursor)
        found = [row.key for row in self._source.rows().values() if row.cursor_us >= least]
        return (found[n : n + 2] for n in range(0, len(found), 2))

    def key_ranges(self, within: KeyRange, *, rows: int, max_ranges: int) -> Sequence[tuple[KeyRange, int]]:
        keys = [row.key for row in self._in_key_order(within)]
        parts = max(1, min(max_ranges, -(-len(keys) // rows)))
        cuts = [len(keys) * n // parts for n in range(parts + 1)]
        sizes = [upper - lower for lower, upper in pairwise(cuts)]
        return list(zip(within.cut(keys[cut] for cut in cuts[1:-1]), sizes, strict=True))

    def keys(self, within: KeyRange, *, below: str) -> Iterator[Sequence[Listed]]:
        listed = [_listed(row, below) for row in self._in_key_order(within)]
        return (listed[n : n + 2] for n in range(0, len(listed), 2))

    def checksum(self, within: KeyRange, *, below: str) -> Checksum | None:
        return memory_checksum(_listed(row, below) for row in self._in_key_order(within))

    def look_up(self, keys: Sequence[Key], *, below: str) -> Mapping[Key, Listed]:
        rows = {row.key: row for row in self._members(self._source.rows().values())}
        return {key: _listed(rows[key], below) for key in keys if key in rows}

    def _in_key_order(self, within: KeyRange) -> list[Row]:
        place_of = placing(key_kinds(self.schema()))
        members = self._members(self._source.rows().values())
        rows = (row for row in members if holds(within, row.key, place_of))
        return sorted(rows, key=lambda row: place_of(row.key))

    def _chunks(self, rows: list[Row], end: Position, fields: Sequence[str], chunk_rows: int) -> Iterator[Chunk]:
        for first in range(0, len(rows), chunk_rows):
            after = first + chunk_rows
            documents = [self._document(row, fields) for row in rows[first:after]]
            yield Chunk(rows[after].position if after < len(rows) else end, Format.ROWS, documents)

    def _document(self, row: Row, fields: Sequence[str]) -> Document:
        if row.deleted or not self._members([row]):
            return Document(row.key, row.cursor_us, None)
        values = {**row.values, self._source.cursor_field: _KIND.text(row.cursor_us)}
        return Document(row.key, row.cursor_us, {name: values[name] for name in fields})

    def _members(self, rows: Iterable[Row]) -> list[Row]:
        """Those of the group; all of them where there is none."""
        by = self._source.group_by
        return [r for r in rows if self._group is None or str(r.values.get(by or "")) == self._group]

    def _rows(self, window: Window) -> list[Row]:
        start = _place(window.start) if window.start else None
        end = _place(window.end)
        rows = self._source.rows().values()
        return sorted((r for r in rows if (start is None or r.place >= start) and r.place < end), key=lambda r: r.place)


def _listed(row: Row, below: str) -> Listed:
    return Listed(row.key, row.cursor_us if row.cursor_us < _KIND.ordinal(below) else None, row.deleted)


def _place(position: Position) -> tuple[int, Key]:
    return _KIND.ordinal(position.cursor), position.key
