"""After a chunk that only wrote over documents the next is tried as an update, which does nothing that an upsert would not."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from copied_chunks import chunk, held, until_somebody_waits, writing
from psycopg.sql import Identifier

from airflow_reindex_provider.core.model import Counts, Document, WriteResult
from airflow_reindex_provider.targets.postgres.statements import Statements
from airflow_reindex_provider.targets.postgres.storing import Storing
from airflow_reindex_provider.targets.postgres.writer import PostgresWriter
from airflow_reindex_provider.testing.postgres import Database

pytestmark = pytest.mark.versions

OLD = [(5, key, "old") for key in "abcdef"]


@contextmanager
def updating(database: Database, **options: Any) -> Iterator[tuple[str, PostgresWriter]]:
    """The next chunk is tried as an update."""
    with writing(database, **options) as (table, writer):
        writer.write(chunk(database, [*OLD, (5, "z", "old")]))
        # Not all of it new, so that the next one is not inserted, and nothing but old, so that it is updated.
        assert writer.write(chunk(database, [(6, "z", "z")])).counts == Counts(updated=1)
        assert writer.write(chunk(database, [(7, "z", "z")])).counts == Counts(updated=1)
        yield table, writer


@pytest.fixture(params=[False, True], ids=["", "deletes"])
def tried(request: pytest.FixtureRequest, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An index whose next chunk is updated, and which of its chunks went through as that."""
    went: list[bool] = []
    update = Storing._updated

    def watched(self: Storing, *arguments: Any) -> Any:
        tries = self._updates >= self._updates_needed
        answer = update(self, *arguments)
        if tries:
            went.append(answer is not None)
        return answer

    with updating(database, has_deletes=request.param) as (table, writer):
        monkeypatch.setattr(Storing, "_updated", watched)
        yield table, writer, went


def written(database: Database, rows: Sequence[tuple[int, str, str | None]], tried: Any) -> tuple[Counts, Any]:
    table, writer, _ = tried
    counts = writer.write(chunk(database, rows)).counts
    return counts, {key: found for key, found in held(database, table).items() if key != "z"}


def test_all_are_there(database: Database, tried: Any) -> None:
    """Each is written, and what the chunk does not name stays. The same version is written over."""
    counts, found = written(database, [(6, "b", "B"), (9, "a", "A"), (5, "c", "C")], tried)
    assert counts == Counts(updated=3)
    assert found == {"a": (9, "A"), "b": (6, "B"), "c": (5, "C"), "d": (5, "old"), "e": (5, "old"), "f": (5, "old")}
    assert tried[2] == [True]


@pytest.mark.parametrize(
    ("rows", "counts"),
    [
        ([(6, "a", "A"), (6, "new", "N"), (6, "b", "B")], Counts(created=1, updated=2)),
        ([(6, "a", "A"), (4, "b", "late"), (6, "c", "C")], Counts(updated=2, version_conflicts=1)),
    ],
    ids=["not there", "newer already"],
)
def test_one_is_not_to_be_updated(database: Database, tried: Any, rows: Any, counts: Counts) -> None:
    """The upsert does the chunk, once; the next such chunks are not tried at once."""
    assert written(database, rows, tried)[0] == counts
    again = [(7, key, "again") for key in "ab"]
    for _ in range(3):
        assert written(database, again, tried)[0] == Counts(updated=2)
    assert tried[2] == [False, True]


@pytest.mark.parametrize(("loose", "goes"), [("body", True), ("id", False)])
@pytest.mark.parametrize("has_deletes", [False, True], ids=["", "deletes"])
def test_columns_whose_equal_values_have_several_texts(loose: str, goes: bool, has_deletes: bool) -> None:
    """In the key alone they matter: which row a staged one is about is more than a question of equal keys then."""
    types = {"id": "text", "body": "jsonb"}
    made = Statements.of(Identifier("things"), types, types, ("id",), has_deletes=has_deletes, loose=(loose,))
    assert (made.update is not None) is goes


def test_one_is_refused(database: Database) -> None:
    with updating(database, indexes=("((CASE WHEN body = 'old' OR body = 'z' THEN 0 ELSE body::int END))",)) as (
        table,
        writer,
    ):
        result = writer.write(chunk(database, [(6, "a", "1"), (6, "b", "two"), (6, "c", "3")]))
        assert result.counts == Counts(updated=2, failures=1)
        assert [rejection.key for rejection in result.rejected] == [("b",)]
        assert held(database, table)["b"] == (5, "old")


def test_one_is_there_twice(database: Database, tried: Any) -> None:
    """An update would take either, and say nothing."""
    _, writer, went = tried
    with pytest.raises(psycopg.errors.CardinalityViolation):
        writer.write(chunk(database, [(6, "a", "A"), (7, "a", "B")]))
    assert went == [False]


def test_deletions(database: Database) -> None:
    """They lose their contents, and are counted as an upsert counts them: what was gone before is none, what comes again is
    created."""
    with updating(database, has_deletes=True) as (table, writer):
        assert writer.write(chunk(database, [(6, "a", None), (6, "b", "B")])).counts == Counts(updated=1, deleted=1)
        assert held(database, table)["a"] == (6, None)
        assert writer.write(chunk(database, [(7, "a", None), (7, "b", "B")])).counts == Counts(updated=1, noops=1)
        writer.write(chunk(database, [(8, "b", "B"), (8, "c", "C")]))
        assert writer.write(chunk(database, [(9, "a", "A"), (9, "b", None)])).counts == Counts(created=1, deleted=1)
        assert held(database, table)["a"] == (9, "A")


@pytest.mark.parametrize("theirs", [6, 8])
def test_another_writer_holds_one(database: Database, tried: Any, theirs: int) -> None:
    """It is judged by what that one has committed, not by what was there before."""
    table, writer, went = tried
    results: list[WriteResult] = []
    with database.connect() as other:
        other.execute("BEGIN")
        other.execute(f"UPDATE {table} SET _reindex_version = {theirs}, body = 'theirs' WHERE id = 'b'")
        ours = chunk(database, [(7, "a", "ours"), (7, "b", "ours")])
        thread = threading.Thread(target=lambda: results.append(writer.write(ours)))
        thread.start()
        until_somebody_waits(database)
        other.execute("COMMIT")
        thread.join(30)
    wins = theirs < 7
    assert results[0].counts == (Counts(updated=2) if wins else Counts(updated=1, version_conflicts=1))
    assert held(database, table)["b"] == ((7, "ours") if wins else (8, "theirs"))
    assert went == [wins]


def test_rows_are_taken_in_the_order_of_their_keys(database: Database, tried: Any) -> None:
    """Whatever the order in which they come and lie: who waits for one of them holds none behind it."""
    table, writer, _ = tried
    with database.connect() as other:
        other.execute(f"UPDATE {table} SET _reindex_version = 5 WHERE id = 'a'")  # It lies behind the others now.
        other.execute("BEGIN")
        other.execute(f"SELECT FROM {table} WHERE id = 'c' FOR UPDATE")
        ours = chunk(database, [(7, key, "ours") for key in "fbdcae"])
        thread = threading.Thread(target=writer.write, args=[ours])
        thread.start()
        until_somebody_waits(database)
        free = other.execute(f"SELECT id FROM {table} WHERE id <> 'z' ORDER BY id FOR UPDATE SKIP LOCKED").fetchall()
        other.execute("COMMIT")
        thread.join(30)
    assert [key for (key,) in free] == ["c", "d", "e", "f"]


def test_no_chunk_reads_the_whole_table(database: Database) -> None:
    """The server knows nothing of what is staged, and would take reading a table from its beginning, or all of its key's index,
    for cheaper than looking up what it guesses to be there."""
    with writing(database, has_deletes=True) as (table, writer), database.connect() as other:
        writer.write(chunk(database, [(5, f"{n:05}", "old") for n in range(4_000)]))
        other.execute(f"VACUUM (ANALYZE) {table}".encode())
        before = _read(other, table)
        for version in range(6, 9):
            keys = range(0, 4_000, 40)
            result = writer.write(chunk(database, [(version, f"{n:05}", "new" if n % 3 else None) for n in keys]))
            assert result.counts.processed == len(keys)
            # A sweep compares contents by the same table.
            kept = [Document((f"{n:05}",), version, {"id": f"{n:05}", "body": "else"}) for n in keys if n % 3]
            assert len(writer.differing(kept)) == len(kept)
    with database.connect() as other:
        assert _read(other, table) - before < 4_000


def _read(connection: psycopg.Connection[Any], table: str) -> int:
    """How many rows sessions that have ended, and this one, were given by scans of a table and of its indexes."""
    connection.execute("SELECT pg_stat_force_next_flush()")
    row = connection.execute(
        "SELECT seq_tup_read + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = %(table)s)"
        " FROM pg_stat_user_tables WHERE relname = %(table)s",
        {"table": table},
    ).fetchone()
    assert row is not None
    return int(row[0])
