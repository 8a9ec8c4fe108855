"""What hangs on the kind of key: cutting, resuming, listing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

import pytest

from airflow_reindex_provider.core.keys import KeyRange, key_kinds, placing
from airflow_reindex_provider.core.model import Batch, Format, Position, Window
from airflow_reindex_provider.testing.formats import InEachFormat
from airflow_reindex_provider.testing.source_suite.table import (
    Made,
    Table,
    batch_of,
    chunks_of,
    keys_of,
    keys_of_slices,
    listing_of,
    position_at,
)


class KeyConformance(InEachFormat, ABC):
    """The tests in which the kind of key matters; part of :class:`SourceConformance`, and to be run alone for further kinds
    of key."""

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
            read = [len(keys_of(table, source, part)) for part, _ in slices.parts]

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
            slices = source.slices(Window(None, position_at(table, 3)), batch_rows=17, max_slices=64)
            read = keys_of_slices(table, source, slices, format=format, chunk_rows=5)

        assert read == list(keys)

    def test_going_on_from_any_chunk_gives_exactly_the_rest(self, table: Table, format: Format) -> None:
        """A batch that starts where a chunk ended yields what the chunks after it held, nothing twice, nothing left
        out; the last chunk ends where the batch ends."""
        keys = table.keys(30)
        table.put([Made(key, number // 7) for number, key in enumerate(keys)])
        window = Window(None, position_at(table, 99))

        with table.source.open() as source:
            chunks = chunks_of(table, source, batch_of(window, 30), format=format, chunk_rows=4)
        assert chunks[-1][0] == window.end
        seen = 0
        for end, documents in chunks:
            seen += len(documents)
            with table.source.open() as source:
                assert keys_of(table, source, Window(end, window.end), format=format) == list(keys[seen:])
        assert seen == 30

    def test_positions_survive_json(self, table: Table) -> None:
        """A batch that has been through JSON, as between two tasks, reads the same rows."""
        keys = table.keys(20)
        table.put([Made(key, 5) for key in keys])

        with table.source.open() as source:
            slices = source.slices(Window(None, position_at(table, 9)), batch_rows=3, max_slices=64)
            parts = [Batch.from_json(batch_of(part, rows).to_json()) for part, rows in slices.parts]
            assert [key for part in parts for key in keys_of(table, source, part.window)] == list(keys)

    def test_parked_keys_are_read_below_the_horizon_only(self, table: Table, format: Format) -> None:
        """A batch of keys reads those rows, as far as they exist and lie in its window."""
        keys = table.keys(10)
        table.put([Made(key, number) for number, key in enumerate(keys[:9])])
        wanted = (keys[1], keys[4], keys[8], keys[9])
        batch = replace(batch_of(Window(None, position_at(table, 8)), 4), keys=wanted)

        with table.source.open() as source:
            chunks = chunks_of(table, source, batch, format=format, chunk_rows=1)

        assert [d.key for _, documents in chunks for d in documents] == [keys[1], keys[4]]

    def test_keys_are_listed_in_the_shared_order(self, table: Table) -> None:
        """Over all ranges each row comes once, in the order of ``core.keys``; what lies at or above the bound has no
        version, and what is gone says so."""
        keys = table.keys(60)
        table.put([Made(key, number % 10, gone=number % 4 == 0) for number, key in enumerate(keys)])

        with table.source.open() as source:
            lister = listing_of(source)
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
            lister = listing_of(source)
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
            lister = listing_of(source)
            found = lister.look_up(keys, below=table.cursor(5))
            nothing = lister.look_up([], below=table.cursor(5))

        assert sorted(found) == sorted(keys[:3])
        assert all(entry.key == key for key, entry in found.items())
        assert [found[key].gone for key in keys[:3]] == [False, True, False]
        assert [found[key].version is None for key in keys[:3]] == [False, False, True]
        assert nothing == {}
