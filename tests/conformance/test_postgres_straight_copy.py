"""A load of new documents alone goes straight into the table, and loses nothing where one of them is not new after all."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from copied_chunks import chunk, held, until_somebody_waits, writing
from pytest_mock import MockerFixture

from airflow_reindex_provider.core.model import Counts, WriteResult
from airflow_reindex_provider.targets.postgres.storing import Storing
from airflow_reindex_provider.targets.postgres.writer import PostgresWriter
from airflow_reindex_provider.testing.postgres import Database

pytestmark = pytest.mark.versions


@pytest.fixture
def straight(mocker: MockerFixture) -> Iterator[None]:
    """The test shall have tried the straight way at least once."""
    spy = mocker.spy(PostgresWriter, "_write_straight")
    yield
    assert spy.call_count


@pytest.mark.usefixtures("straight")
def test_all_new(database: Database, mocker: MockerFixture) -> None:
    with writing(database) as (table, writer):
        writer.write(chunk(database, [(1, "a", "A")]))
        store = mocker.spy(Storing, "store")
        result = writer.write(chunk(database, [(1, "b", "B"), (1, "c", "C")]))
    assert result == WriteResult(Counts(created=2))
    assert not store.called
    assert held(database, table) == {"a": (1, "A"), "b": (1, "B"), "c": (1, "C")}


@pytest.mark.usefixtures("straight")
def test_a_generation_that_is_being_loaded(database: Database, mocker: MockerFixture) -> None:
    """From the first chunk on; of a try after one that was killed, the documents that are there already stay as they are."""
    store = mocker.spy(Storing, "store")
    with writing(database, served=False) as (table, writer):
        result = writer.write(chunk(database, [(1, "a", "A"), (1, "b", "B")]))
        assert (result.counts, store.called) == (Counts(created=2), False)
    with writing(database, served=False) as (table, writer):
        result = writer.write(chunk(database, [(1, "b", "B"), (1, "c", "C")]))
    assert (result.counts.created, result.counts.processed) == (1, 2)
    assert held(database, table) == {"a": (1, "A"), "b": (1, "B"), "c": (1, "C")}


@pytest.mark.usefixtures("straight")
def test_a_key_that_is_there_already(database: Database) -> None:
    """The older state is written over, the newer one stays, the rest of the chunk is in."""
    with writing(database) as (table, writer):
        writer.write(chunk(database, [(5, "a", "A"), (5, "b", "B")]))
        result = writer.write(chunk(database, [(4, "a", "late"), (6, "b", "next"), (1, "c", "C")]))
        again = writer.write(chunk(database, [(7, "c", "next")]))
    assert result == WriteResult(Counts(created=1, updated=1, version_conflicts=1))
    assert again == WriteResult(Counts(updated=1))
    assert held(database, table) == {"a": (5, "A"), "b": (6, "next"), "c": (7, "next")}


@pytest.mark.usefixtures("straight")
def test_a_document_that_is_refused(database: Database) -> None:
    with writing(database, indexes=("((body::int))",)) as (table, writer):
        writer.write(chunk(database, [(1, "a", "1")]))
        result = writer.write(chunk(database, [(1, "b", "2"), (1, "c", "three"), (1, "d", "4")]))
    assert result.counts == Counts(created=2, failures=1)
    assert [r.key for r in result.rejected] == [("c",)]
    assert set(held(database, table)) == {"a", "b", "d"}


@pytest.mark.parametrize("loaded", [True, False], ids=["straight", "staged"])
def test_another_writer_with_the_keys_in_another_order(database: Database, mocker: MockerFixture, loaded: bool) -> None:
    """Both wait for each other: the one that Postgres picks as the victim, ours, does the chunk again."""
    spy = mocker.spy(PostgresWriter, "_write_straight")
    with writing(database) as (table, writer), database.connect() as other:
        if loaded:
            writer.write(chunk(database, [(1, "0", "")]))
        # Never the victim.
        other.execute("SET deadlock_timeout = '1min'")
        insert = f"INSERT INTO {table} VALUES (%s, 'theirs', 9, false)"
        other.execute("BEGIN")
        other.execute(insert, ["b"])
        results: list[WriteResult] = []
        ours = chunk(database, [(1, "a", "ours"), (1, "b", "ours"), (1, "c", "ours")])
        thread = threading.Thread(target=lambda: results.append(writer.write(ours)))
        thread.start()
        until_somebody_waits(database)
        other.execute(insert, ["a"])
        other.execute("COMMIT")
        thread.join(30)
    assert results == [WriteResult(Counts(created=1, version_conflicts=2))]
    assert bool(spy.called) is loaded
    assert {k: v for k, v in held(database, table).items() if k != "0"} == {
        "a": (9, "theirs"),
        "b": (9, "theirs"),
        "c": (1, "ours"),
    }
