"""What every source must do, for anyone who writes one.

Subclass :class:`SourceConformance` in a test module and give it a ``table`` fixture: a table of the system under test that
the suite can write to, and the source that reads it::

    class TestMySource(SourceConformance):
        @pytest.fixture
        def table(self):
            return MyTable(...)

For composite and non-integer keys subclass it again, or :class:`KeyConformance`. What each format says is compared through
``table.documents``, which decodes a chunk. ``pytest -rP -k what_it_can_do`` prints what a source can do and what not.
"""

from __future__ import annotations

from collections.abc import Collection

import pytest

from airflow_reindex_provider.core.model import Format, Window
from airflow_reindex_provider.testing.source_suite.abilities import abilities
from airflow_reindex_provider.testing.source_suite.keys import KeyConformance
from airflow_reindex_provider.testing.source_suite.table import (
    US,
    Made,
    Table,
    batch_of,
    documents_of,
    keys_of,
    keys_of_slices,
    position_at,
    window_of,
)

__all__ = ["KeyConformance", "Made", "SourceConformance", "Table"]


class SourceConformance(KeyConformance):
    """The promises of ``core.protocols.SourceSession`` as tests. Each needs a table that is empty at its start."""

    counts_null_cursors: bool = True
    """Whether the table can hold rows without a cursor value, which are then left out and counted."""
    cannot: Collection[str] = ()
    """What the source does not do, of ``testing.source_suite.abilities``: nothing is left out for want of a method's name."""

    def test_what_it_can_do(self, table: Table) -> None:
        """It can do what its author says, and prints it."""
        with table.source.open() as source:
            found = abilities(table.source, source, below=table.cursor(99))

        print(f"{table.source.label} ({', '.join(table.source.formats)})")
        for ability, has in found.items():
            print(f"  {'yes' if has else 'no '}  {ability}")
        assert {ability for ability, has in found.items() if not has} == set(self.cannot)

    def test_an_empty_window_has_no_slices(self, table: Table) -> None:
        """No rows, no parts; and asking for changes says so."""
        table.put([Made(table.keys(1)[0], 50)])

        with table.source.open() as source:
            for window in (window_of(table, 0, 50), window_of(table, 51, 99)):
                assert source.slices(window, batch_rows=10, max_slices=64).parts == ()
                assert not source.has_changes(window)
            assert source.has_changes(window_of(table, 50, 51))

    def test_an_empty_table_has_no_slices(self, table: Table) -> None:
        """A first run over a table without rows plans nothing."""
        with table.source.open() as source:
            assert source.slices(Window(None, position_at(table, 99)), batch_rows=10, max_slices=64).parts == ()
            assert not source.has_changes(Window(None, position_at(table, 99)))

    def test_rows_without_a_cursor_are_left_out_and_counted(self, table: Table) -> None:
        """They have no place in the order of change."""
        if not self.counts_null_cursors:
            pytest.skip("this source's cursor field is never NULL")
        keys = table.keys(5)
        table.put([Made(key, None if number < 3 else number) for number, key in enumerate(keys)])

        with table.source.open() as source:
            slices = source.slices(Window(None, position_at(table, 99)), batch_rows=10, max_slices=64)
            assert slices.null_cursors == 3
            assert keys_of_slices(table, source, slices) == list(keys[3:])
            nothing = source.slices(window_of(table, 50, 99), batch_rows=10, max_slices=64)
            assert (nothing.parts, nothing.null_cursors) == ((), 3)
            assert [key for page in source.keys_from(table.cursor(0)) for key in page] == list(keys[3:])

    def test_microseconds_are_kept_apart(self, table: Table, format: Format) -> None:
        """A window that ends between two microseconds takes the one and leaves the other, and versions tell them apart."""
        first, second, third = table.keys(3)
        table.put([Made(first, US - 1), Made(second, US), Made(third, US + 1)])

        with table.source.open() as source:
            before, at, after = (
                documents_of(table, source, window_of(table, us, us + 1), format=format) for us in (US - 1, US, US + 1)
            )

        assert [[d.key for d in read] for read in (before, at, after)] == [[first], [second], [third]]
        assert before[0].version + 2 == at[0].version + 1 == after[0].version

    def test_what_is_gone_is_a_deletion(self, table: Table, format: Format) -> None:
        """A soft-deleted row, or one that has left the filter, is read as a deletion with the version of that change."""
        kept, gone = table.keys(2)
        table.put([Made(kept, 1), Made(gone, 1)])
        table.put([Made(gone, 2, gone=True)])

        with table.source.open() as source:
            documents = {d.key: d for d in documents_of(table, source, window_of(table, 0, 9), format=format)}

        assert documents[kept].fields is not None
        assert documents[gone].fields is None
        assert documents[gone].version == documents[kept].version + 1

    def test_a_row_that_moved_on_is_left_out(self, table: Table, format: Format) -> None:
        """A row changed between planning and reading is not in its old window any more; a later window brings it."""
        keys = table.keys(10)
        table.put([Made(key, 1) for key in keys])
        with table.source.open() as source:
            (part,) = source.slices(window_of(table, 0, 9), batch_rows=50, max_slices=64).parts

        table.put([Made(keys[3], 20, "changed")])

        with table.source.open() as source:
            assert keys_of(table, source, part[0], format=format) == [k for k in keys if k != keys[3]]
            (moved,) = documents_of(table, source, window_of(table, 9, 99), format=format)
        assert (moved.key, dict(moved.fields or {})["body"]) == (keys[3], "changed")

    def test_a_batch_without_rows_yields_no_documents(self, table: Table, format: Format) -> None:
        """All rows of a batch may have moved on before it is read."""
        with table.source.open() as source:
            assert documents_of(table, source, window_of(table, 0, 9), format=format) == []

    def test_formats_give_the_same_documents(self, table: Table) -> None:
        """Key, version, deletion and every field are the same in each format."""
        rows = [Made(key, n, f'it\'s "{n}" \\ \t\n é 😀', gone=n % 4 == 0) for n, key in enumerate(table.keys(12))]
        table.put(rows)

        with table.source.open() as source:
            said = [documents_of(table, source, window_of(table, 0, 99), format=f) for f in self.formats]

        assert len(said[0]) == 12
        assert all(documents == said[0] for documents in said)

    def test_reading_stops_midway_without_harm(self, table: Table, format: Format) -> None:
        """Whoever stops reading after a chunk can close the session, and a new one reads on."""
        keys = table.keys(50)
        table.put([Made(key, number) for number, key in enumerate(keys)])
        window = Window(None, position_at(table, 99))

        with table.source.open() as source:
            fields = [f.name for f in source.schema().fields]
            chunks = source.read(batch_of(window, 50), format=format, fields=fields, chunk_rows=10)
            first = next(chunks)
            read = [d.key for d in table.documents(first, fields)]
            chunks.close()  # type: ignore[attr-defined]
        with table.source.open() as source:
            assert read + keys_of(table, source, Window(first.end, window.end), format=format) == list(keys)

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
