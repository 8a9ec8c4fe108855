"""What every source must do, for anyone who writes one.

Subclass :class:`SourceConformance` in a test module and give it a ``table`` fixture: a table of the system under test that
the suite can write to, and the source that reads it::

    class TestMySource(SourceConformance):
        @pytest.fixture
        def table(self):
            return MyTable(...)

For composite and non-integer keys subclass it again, or :class:`KeyConformance`. What each format says is compared through
``table.documents``, which decodes a chunk.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import pytest

from airflow_reindex_provider.core.keys import KeyRange, key_kinds, placing
from airflow_reindex_provider.core.model import (
    Batch,
    Chunk,
    Document,
    Format,
    Key,
    Position,
    Slices,
    Window,
)
from airflow_reindex_provider.core.protocols import ListingSource, Source, SourceSession

US = 1_000_000


@dataclass(frozen=True)
class Made:
    """A row that the suite wants in the table: with the cursor value of this many microseconds since a fixed start, and
    gone (soft-deleted, or outside of the filter) if said so. ``us`` is None for a row without a cursor value."""

    key: Key
    us: int | None
    text: str = "text"
    gone: bool = False


class Table(Protocol):
    """The suite's hand in the system under test. The table has the key's columns, a text column ``body``, the cursor and
    whatever makes a row gone."""

    @property
    def source(self) -> Source: ...

    def keys(self, count: int) -> Sequence[Key]:
        """This many different keys, as the source writes them, in the source's order."""

    def put(self, rows: Sequence[Made]) -> None:
        """Insert the rows, or replace those of the same key, in one committed transaction."""

    def cursor(self, us: int) -> str:
        """The cursor value of a row made with ``us``; greater for a greater one. Everything up to one day (86,400 s) must
        lie below the horizon."""

    def documents(self, chunk: Chunk, fields: Sequence[str]) -> Sequence[Document]:
        """The chunk's documents, whatever its format; of a deletion ``fields`` is None. Values compare equal between
        formats where they mean the same."""


class KeyConformance(ABC):
    """The tests in which the kind of key matters; part of :class:`SourceConformance`, and to be run alone for further kinds
    of key."""

    formats: Sequence[Format] = (Format.ROWS,)
    """The formats to run the reading tests in; all that the source offers."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "format" in metafunc.fixturenames:
            metafunc.parametrize("format", metafunc.cls.formats, ids=str)

    @pytest.fixture
    @abstractmethod
    def table(self) -> Table:
        """An empty table."""

    @pytest.mark.parametrize(
        ("rows", "batch_rows", "max_slices"),
        [(1, 10, 64), (11, 10, 64), (1010, 100, 64), (1999, 1000, 64), (2000, 10, 7)],
    )
    def test_slices_meet_and_are_equal(self, table: Table, rows: int, batch_rows: int, max_slices: int) -> None:
        """The parts cover the window without gap or overlap, are no more than allowed, say how many rows they hold, and
        differ by at most 5% of their mean (or a row)."""
        table.put([Made(key, number) for number, key in enumerate(table.keys(rows))])
        window = Window(Position(table.cursor(0)), Position(table.cursor(rows)))

        with table.source.open() as source:
            slices = source.slices(window, batch_rows=batch_rows, max_slices=max_slices)
            read = [len(_keys(table, source, part)) for part, _ in slices.parts]

        windows = [part for part, _ in slices.parts]
        assert len(windows) == min(max_slices, -(-rows // batch_rows))
        assert windows[0].start == window.start
        assert windows[-1].end == window.end
        assert [w.end for w in windows[:-1]] == [w.start for w in windows[1:]]
        assert read == [count for _, count in slices.parts]
        assert slices.rows == sum(read) == rows
        mean = rows / len(windows)
        assert max(abs(count - mean) for count in read) <= max(1, 0.05 * mean)

    def test_every_row_is_read_once_in_order(self, table: Table, format: Format) -> None:
        """Over all slices and chunks each row comes once, in order of (cursor, key), however many share a cursor value at
        the edges of batches and chunks."""
        keys = table.keys(120)
        table.put([Made(key, number // 40) for number, key in enumerate(keys)])

        with table.source.open() as source:
            slices = source.slices(Window(None, _at(table, 3)), batch_rows=17, max_slices=64)
            read = _read_keys(table, source, slices, format=format, chunk_rows=5)

        assert read == list(keys)

    def test_going_on_from_any_chunk_gives_exactly_the_rest(self, table: Table, format: Format) -> None:
        """A batch that starts where a chunk ended yields what the chunks after it held, nothing twice, nothing left
        out; the last chunk ends where the batch ends."""
        keys = table.keys(30)
        table.put([Made(key, number // 7) for number, key in enumerate(keys)])
        window = Window(None, _at(table, 99))

        with table.source.open() as source:
            chunks = _chunks(table, source, _batch(window, 30), format=format, chunk_rows=4)
        assert chunks[-1][0] == window.end
        seen = 0
        for end, documents in chunks:
            seen += len(documents)
            with table.source.open() as source:
                assert _keys(table, source, Window(end, window.end), format=format) == list(keys[seen:])
        assert seen == 30

    def test_positions_survive_json(self, table: Table) -> None:
        """A batch that has been through JSON, as between two tasks, reads the same rows."""
        keys = table.keys(20)
        table.put([Made(key, 5) for key in keys])

        with table.source.open() as source:
            slices = source.slices(Window(None, _at(table, 9)), batch_rows=3, max_slices=64)
            parts = [Batch.from_json(_batch(part, rows).to_json()) for part, rows in slices.parts]
            assert [key for part in parts for key in _keys(table, source, part.window)] == list(keys)

    def test_parked_keys_are_read_below_the_horizon_only(self, table: Table, format: Format) -> None:
        """A batch of keys reads those rows, as far as they exist and lie in its window."""
        keys = table.keys(10)
        table.put([Made(key, number) for number, key in enumerate(keys[:9])])
        wanted = (keys[1], keys[4], keys[8], keys[9])
        batch = replace(_batch(Window(None, _at(table, 8)), 4), keys=wanted)

        with table.source.open() as source:
            chunks = _chunks(table, source, batch, format=format, chunk_rows=1)

        assert [d.key for _, documents in chunks for d in documents] == [keys[1], keys[4]]

    def test_keys_are_listed_in_the_shared_order(self, table: Table) -> None:
        """Over all ranges each row comes once, in the order of ``core.keys``; what lies at or above the bound has no
        version, and what is gone says so."""
        keys = table.keys(60)
        table.put([Made(key, number % 10, gone=number % 4 == 0) for number, key in enumerate(keys)])

        with table.source.open() as source:
            lister = _lister(source)
            schema = source.schema()
            ranges = lister.key_ranges(KeyRange(), rows=7, max_ranges=64)
            below = table.cursor(8)
            listed = [[e for page in lister.keys(part, below=below) for e in page] for part, _ in ranges]

        assert (ranges[0][0].start, ranges[-1][0].end) == (None, None)
        assert [a.end for a, _ in ranges[:-1]] == [b.start for b, _ in ranges[1:]]
        assert [rows for _, rows in ranges] == [len(part) for part in listed]
        assert max(len(part) for part in listed) <= 7
        entries = [entry for part in listed for entry in part]
        place_of = placing(key_kinds(schema))
        assert [e.key for e in entries] == sorted(keys, key=place_of)
        by_key = {e.key: e for e in entries}
        versions = {number % 10: by_key[key].version for number, key in enumerate(keys)}
        assert [versions[us] is None for us in range(10)] == [False] * 8 + [True] * 2
        assert sorted(v for v in versions.values() if v is not None) == [versions[us] for us in range(8)]
        assert [by_key[key].gone for key in keys] == [number % 4 == 0 for number in range(60)]

    def test_checksums_tell_rows_apart(self, table: Table) -> None:
        """Of a range they follow its keys and versions, and no other rows: not those gone, nor those above the bound."""
        keys = table.keys(20)
        table.put([Made(key, 1) for key in keys[:10]])
        with table.source.open() as source:
            lister = _lister(source)
            below = table.cursor(5)
            before = lister.checksum(KeyRange(), below=below)
            if before is None:
                pytest.skip("this source computes no checksums")
            table.put([Made(key, 6) for key in keys[10:15]])
            table.put([Made(key, 2, gone=True) for key in keys[15:]])
            assert lister.checksum(KeyRange(), below=below) == before
            assert before.count == 10
            table.put([Made(keys[0], 2)])
            changed = lister.checksum(KeyRange(), below=below)
            assert changed is not None
            assert (changed.count, changed.digest == before.digest) == (10, False)
            halves = lister.key_ranges(KeyRange(), rows=10, max_ranges=2)
            counts = [c.count for part, _ in halves if (c := lister.checksum(part, below=below)) is not None]
            assert sum(counts) == 10

    def test_keys_from_a_cursor_on(self, table: Table) -> None:
        """All rows at or above it, gone or not and however many, each once; none below it."""
        keys = table.keys(1202)
        table.put([Made(key, 4 + number % 2, gone=number % 3 == 0) for number, key in enumerate(keys[:1200])])
        table.put([Made(key, 3) for key in keys[1200:]])
        with table.source.open() as source:
            pages = list(source.keys_from(table.cursor(4)))
            last = [key for page in source.keys_from(table.cursor(5)) for key in page]
            assert list(source.keys_from(table.cursor(6))) == []

        assert sorted(key for page in pages for key in page) == sorted(keys[:1200])
        assert all(0 < len(page) <= 1000 for page in pages)
        assert sorted(last) == sorted(key for number, key in enumerate(keys[:1200]) if number % 2)

    def test_a_look_up_finds_whatever_exists(self, table: Table) -> None:
        """Below the bound or not, gone or not; and nothing that does not exist."""
        keys = table.keys(6)
        table.put([Made(keys[0], 1), Made(keys[1], 1, gone=True), Made(keys[2], 9)])
        with table.source.open() as source:
            lister = _lister(source)
            found = lister.look_up(keys, below=table.cursor(5))
            nothing = lister.look_up([], below=table.cursor(5))

        assert sorted(found) == sorted(keys[:3])
        assert all(entry.key == key for key, entry in found.items())
        assert [found[key].gone for key in keys[:3]] == [False, True, False]
        assert [found[key].version is None for key in keys[:3]] == [False, False, True]
        assert nothing == {}


class SourceConformance(KeyConformance):
    """The promises of ``core.protocols.SourceSession`` as tests. Each needs a table that is empty at its start."""

    counts_null_cursors: bool = True
    """Whether the table can hold rows without a cursor value, which are then left out and counted."""

    def test_an_empty_window_has_no_slices(self, table: Table) -> None:
        """No rows, no parts; and asking for changes says so."""
        table.put([Made(table.keys(1)[0], 50)])

        with table.source.open() as source:
            for window in (_window(table, 0, 50), _window(table, 51, 99)):
                assert source.slices(window, batch_rows=10, max_slices=64).parts == ()
                assert not source.has_changes(window)
            assert source.has_changes(_window(table, 50, 51))

    def test_an_empty_table_has_no_slices(self, table: Table) -> None:
        """A first run over a table without rows plans nothing."""
        with table.source.open() as source:
            assert source.slices(Window(None, _at(table, 99)), batch_rows=10, max_slices=64).parts == ()
            assert not source.has_changes(Window(None, _at(table, 99)))

    def test_rows_without_a_cursor_are_left_out_and_counted(self, table: Table) -> None:
        """They have no place in the order of change."""
        if not self.counts_null_cursors:
            pytest.skip("this source's cursor field is never NULL")
        keys = table.keys(5)
        table.put([Made(key, None if number < 3 else number) for number, key in enumerate(keys)])

        with table.source.open() as source:
            slices = source.slices(Window(None, _at(table, 99)), batch_rows=10, max_slices=64)
            assert slices.null_cursors == 3
            assert _read_keys(table, source, slices) == list(keys[3:])
            nothing = source.slices(_window(table, 50, 99), batch_rows=10, max_slices=64)
            assert (nothing.parts, nothing.null_cursors) == ((), 3)
            assert [key for page in source.keys_from(table.cursor(0)) for key in page] == list(keys[3:])

    def test_microseconds_are_kept_apart(self, table: Table, format: Format) -> None:
        """A window that ends between two microseconds takes the one and leaves the other, and versions tell them apart."""
        first, second, third = table.keys(3)
        table.put([Made(first, US - 1), Made(second, US), Made(third, US + 1)])

        with table.source.open() as source:
            before, at, after = (
                _documents(table, source, _window(table, us, us + 1), format=format) for us in (US - 1, US, US + 1)
            )

        assert [[d.key for d in read] for read in (before, at, after)] == [[first], [second], [third]]
        assert before[0].version + 2 == at[0].version + 1 == after[0].version

    def test_what_is_gone_is_a_deletion(self, table: Table, format: Format) -> None:
        """A soft-deleted row, or one that has left the filter, is read as a deletion with the version of that change."""
        kept, gone = table.keys(2)
        table.put([Made(kept, 1), Made(gone, 1)])
        table.put([Made(gone, 2, gone=True)])

        with table.source.open() as source:
            documents = {d.key: d for d in _documents(table, source, _window(table, 0, 9), format=format)}

        assert documents[kept].fields is not None
        assert documents[gone].fields is None
        assert documents[gone].version == documents[kept].version + 1

    def test_a_row_that_moved_on_is_left_out(self, table: Table, format: Format) -> None:
        """A row changed between planning and reading is not in its old window any more; a later window brings it."""
        keys = table.keys(10)
        table.put([Made(key, 1) for key in keys])
        with table.source.open() as source:
            (part,) = source.slices(_window(table, 0, 9), batch_rows=50, max_slices=64).parts

        table.put([Made(keys[3], 20, "changed")])

        with table.source.open() as source:
            assert _keys(table, source, part[0], format=format) == [k for k in keys if k != keys[3]]
            (moved,) = _documents(table, source, _window(table, 9, 99), format=format)
        assert (moved.key, dict(moved.fields or {})["body"]) == (keys[3], "changed")

    def test_a_batch_without_rows_yields_no_documents(self, table: Table, format: Format) -> None:
        """All rows of a batch may have moved on before it is read."""
        with table.source.open() as source:
            assert _documents(table, source, _window(table, 0, 9), format=format) == []

    def test_formats_give_the_same_documents(self, table: Table) -> None:
        """Key, version, deletion and every field are the same in each format."""
        rows = [Made(key, n, f'it\'s "{n}" \\ \t\n é 😀', gone=n % 4 == 0) for n, key in enumerate(table.keys(12))]
        table.put(rows)

        with table.source.open() as source:
            said = [_documents(table, source, _window(table, 0, 99), format=f) for f in self.formats]

        assert len(said[0]) == 12
        assert all(documents == said[0] for documents in said)

    def test_reading_stops_midway_without_harm(self, table: Table, format: Format) -> None:
        """Whoever stops reading after a chunk can close the session, and a new one reads on."""
        keys = table.keys(50)
        table.put([Made(key, number) for number, key in enumerate(keys)])
        window = Window(None, _at(table, 99))

        with table.source.open() as source:
            fields = [f.name for f in source.schema().fields]
            chunks = source.read(_batch(window, 50), format=format, fields=fields, chunk_rows=10)
            first = next(chunks)
            read = [d.key for d in table.documents(first, fields)]
            chunks.close()  # type: ignore[attr-defined]
        with table.source.open() as source:
            assert read + _keys(table, source, Window(first.end, window.end), format=format) == list(keys)

    def test_the_survey_describes_the_table(self, table: Table) -> None:
        """The columns carry the key first; the horizon lies above what is long committed and not above the clock."""
        key = table.keys(1)[0]
        table.put([Made(key, 1)])

        with table.source.open() as source:
            survey = source.survey()

        kind = survey.schema.cursor_type
        assert "body" in [f.name for f in survey.schema.fields]
        assert [f.name for f in survey.schema.fields][: len(key)] == list(survey.schema.primary_key)
        assert survey.schema.has_deletes
        assert survey.horizon.cursor is not None
        assert kind.ordinal(survey.horizon.cursor) > kind.ordinal(table.cursor(1))
        if survey.now is not None:
            assert kind.ordinal(survey.horizon.cursor) <= kind.ordinal(survey.now)

    def test_an_equal_source_can_be_made(self, table: Table) -> None:
        """What ``serialize`` gives makes an equal source elsewhere, as a sensor's trigger needs."""
        source = table.source
        again = type(source).deserialize(source.serialize())  # type: ignore[attr-defined]
        assert again.serialize() == source.serialize()


def _lister(source: SourceSession) -> ListingSource:
    if not isinstance(source, ListingSource):
        pytest.skip("this source does not list its keys")
    return source


def _at(table: Table, us: int) -> Position:
    return Position(table.cursor(us))


def _window(table: Table, start_us: int, end_us: int) -> Window:
    return Window(_at(table, start_us), _at(table, end_us))


def _batch(window: Window, rows: int) -> Batch:
    return Batch("stream", "generation", 0, 1, window, rows)


def _chunks(
    table: Table, source: SourceSession, batch: Batch, *, format: Format, chunk_rows: int
) -> list[tuple[Position, Sequence[Document]]]:
    fields = [f.name for f in source.schema().fields]
    read = source.read(batch, format=format, fields=fields, chunk_rows=chunk_rows)
    return [(chunk.end, table.documents(chunk, fields)) for chunk in read]


def _documents(
    table: Table, source: SourceSession, window: Window, *, format: Format, chunk_rows: int = 7
) -> list[Document]:
    read = _chunks(table, source, _batch(window, 10 * chunk_rows), format=format, chunk_rows=chunk_rows)
    return [document for _, documents in read for document in documents]


def _keys(table: Table, source: SourceSession, window: Window, *, format: Format = Format.ROWS) -> list[Key]:
    return [d.key for d in _documents(table, source, window, format=format, chunk_rows=1000)]


def _read_keys(
    table: Table, source: SourceSession, slices: Slices, *, format: Format = Format.ROWS, chunk_rows: int = 7
) -> list[Key]:
    return [
        document.key
        for part, rows in slices.parts
        for _, documents in _chunks(table, source, _batch(part, rows), format=format, chunk_rows=chunk_rows)
        for document in documents
    ]
