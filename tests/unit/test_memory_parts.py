"""The parts in memory keep what the tests that use them rely on."""

from __future__ import annotations

import pytest

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ConfigurationError, TransientError
from airflow_reindex_provider.core.model import (
    Batch,
    Chunk,
    Counts,
    Document,
    Format,
    Position,
    Rejection,
    Window,
)
from airflow_reindex_provider.core.protocols import (
    CheckpointStore,
    ProgressReporter,
    ResumeLog,
    Source,
    SourceSession,
    Target,
    TargetSession,
    Writer,
)
from airflow_reindex_provider.testing.checkpoint_conformance import CheckpointStoreConformance
from airflow_reindex_provider.testing.memory import (
    MemoryCheckpoint,
    MemoryReporter,
    MemoryResumeLog,
    MemorySource,
    MemorySourceSession,
    MemoryTarget,
    MemoryTargetSession,
    MemoryWriter,
)

KIND = CursorType.TIMESTAMPTZ
SCHEMA = MemorySourceSession(MemorySource()).schema()


def conforms(
    source: MemorySource,
    source_session: MemorySourceSession,
    target: MemoryTarget,
    target_session: MemoryTargetSession,
    writer: MemoryWriter,
) -> tuple[Source, SourceSession, Target, TargetSession, Writer, CheckpointStore, ResumeLog, ProgressReporter]:
    """Never called: the type checker reads it."""
    return (
        source,
        source_session,
        target,
        target_session,
        writer,
        MemoryCheckpoint(),
        MemoryResumeLog(),
        MemoryReporter(),
    )


@pytest.fixture
def source() -> MemorySource:
    return MemorySource(now_us=10)


def read(source: MemorySource, window: Window, *, chunk_rows: int = 100, keys: tuple[str, ...] = ()) -> list[Chunk]:
    batch = Batch("s", "g", 0, 1, window, 0, tuple((key,) for key in keys))
    with source.open() as session:
        return list(session.read(batch, format=Format.ROWS, fields=["id", "title"], chunk_rows=chunk_rows))


def documents(chunks: list[Chunk]) -> list[Document]:
    return [d for chunk in chunks for d in chunk.payload if isinstance(d, Document)]


ALL = Window(None, Position(KIND.text(10**9)))


def test_only_what_is_committed_is_seen(source: MemorySource) -> None:
    """Neither open nor rolled back work shows."""
    one, other = source.begin(), source.begin()
    one.put({"id": "a", "title": "x"})
    other.put({"id": "b", "title": "y"})
    assert read(source, ALL) == []
    other.rollback()
    one.commit()
    assert [d.key for d in documents(read(source, ALL))] == [("a",)]


def test_rows_carry_the_time_at_which_their_transaction_began(source: MemorySource) -> None:
    """However late it writes and commits."""
    transaction = source.begin()
    source.now_us = 20
    transaction.put({"id": "a", "title": "x"})
    source.now_us = 30
    transaction.commit()
    assert documents(read(source, ALL))[0].version == 10


def test_the_horizon_is_the_oldest_open_transaction_or_now_less_the_margin(source: MemorySource) -> None:
    """Whoever ends, the oldest that is still open decides."""
    source.margin_us = 2
    assert source.horizon().cursor == KIND.text(8)
    oldest = source.begin()
    source.now_us = 20
    younger = source.begin()
    assert source.horizon().cursor == KIND.text(8)
    assert "open since" in (source.horizon().held_by or "")
    oldest.commit()
    assert source.horizon().cursor == KIND.text(18)
    source.now_us = 30
    younger.rollback()
    assert (source.horizon().cursor, source.horizon().held_by) == (KIND.text(28), None)


def test_a_row_that_another_transaction_writes_is_locked_until_that_one_ends(source: MemorySource) -> None:
    """The second writer then goes on from what was committed, so no update is lost."""
    one, other = source.begin(), source.begin()
    one.put({"id": "a", "title": "x"})
    with pytest.raises(TransientError, match="Row a"):
        other.put({"id": "a"})
    one.commit()
    other.put({"id": "a"})
    other.commit()
    assert source.rows()[("a",)].values["title"] == "x"


def test_a_deleted_row_reads_as_a_deletion(source: MemorySource) -> None:
    """With the deleting transaction's time as version; what was never there cannot be deleted."""
    with source.transaction() as transaction:
        transaction.put({"id": "a", "title": "x"})
    source.now_us = 20
    with source.transaction() as transaction:
        transaction.delete("a")
        transaction.delete("never")
    assert documents(read(source, ALL)) == [Document(("a",), 20, None)]


def test_an_error_within_a_transaction_rolls_it_back(source: MemorySource) -> None:
    """Nothing of it stays, its locks included."""
    with pytest.raises(ZeroDivisionError), source.transaction() as transaction:
        transaction.put({"id": 1 // 0})
    with source.transaction() as transaction:
        transaction.put({"id": "a"})
    assert list(source.rows()) == [("a",)]


def five(source: MemorySource) -> None:
    with source.transaction() as transaction:
        for key in "edcba":
            transaction.put({"id": key, "title": key})


def test_positions_are_half_open_within_equal_timestamps(source: MemorySource) -> None:
    """Rows with one timestamp are told apart by their key."""
    five(source)
    now = KIND.text(10)
    got = documents(read(source, Window(Position(now, ("b",)), Position(now, ("d",)))))
    assert [d.key for d in got] == [("b",), ("c",)]
    assert documents(read(source, Window(None, Position(now)))) == []


def test_chunks_meet_and_the_last_ends_with_the_batch(source: MemorySource) -> None:
    """Going on at a chunk's end brings exactly the rows after it."""
    five(source)
    chunks = read(source, ALL, chunk_rows=2)
    assert [len(list(c.payload)) for c in chunks] == [2, 2, 1]
    assert chunks[-1].end == ALL.end
    rest = read(source, Window(chunks[0].end, ALL.end))
    assert [d.key for d in documents(rest)] == [("c",), ("d",), ("e",)]


def test_a_batch_of_keys_reads_those_rows(source: MemorySource) -> None:
    """As far as they lie in its window."""
    five(source)
    source.now_us = 20
    with source.transaction() as transaction:
        transaction.put({"id": "b"})
    got = documents(read(source, Window(None, Position(KIND.text(20))), keys=("a", "b", "zzz")))
    assert [d.key for d in got] == [("a",)]


def test_reading_sees_the_moment_at_which_it_began(source: MemorySource) -> None:
    """A commit while chunks are handed out does not show in them."""
    five(source)
    with source.open() as session:
        reading = session.read(Batch("s", "g", 0, 1, ALL, 0), format=Format.ROWS, fields=["id"], chunk_rows=1)
        next(reading)
        with source.transaction() as transaction:
            transaction.put({"id": "zzz"})
        assert len(list(reading)) == 4


@pytest.mark.parametrize("rows", [1, 99, 100, 101, 997])
def test_slices_are_equal_within_five_percent_or_one_row(source: MemorySource, rows: int) -> None:
    """And they cover the window."""
    for n in range(rows):
        source.now_us += n % 3
        with source.transaction() as transaction:
            transaction.put({"id": f"{n:04}"})
    with source.open() as session:
        slices = session.slices(ALL, batch_rows=10, max_slices=20)
    counts = [count for _, count in slices.parts]
    assert sum(counts) == rows
    assert max(counts) - min(counts) <= max(1, 0.05 * rows / len(counts))
    assert [sum(1 for _ in documents(read(source, window))) for window, _ in slices.parts] == counts
    assert (slices.parts[0][0].start, slices.parts[-1][0].end) == (ALL.start, ALL.end)


def test_a_source_in_memory_gives_rows_only(source: MemorySource) -> None:
    """Another format is refused and not ignored."""
    with source.open() as session, pytest.raises(ConfigurationError, match="rows only"):
        session.read(Batch("s", "g", 0, 1, ALL, 0), format=Format.PG_COPY, fields=["id"], chunk_rows=1)


def test_an_equal_source_is_made_from_its_arguments() -> None:
    """Shape and clock, without the rows."""
    source = MemorySource(columns={"k": "text"}, primary_key=["k"], cursor_field="at", now_us=5, margin_us=1)
    assert MemorySource.deserialize(source.serialize()).serialize() == source.serialize()


@pytest.fixture
def target(source: MemorySource) -> MemoryTarget:
    target = MemoryTarget()
    with source.open() as read, target.open("s") as session:
        session.create_first("g1", read.schema())
        session.promote("g1")
    return target


def write(target: MemoryTarget, *documents: Document) -> tuple[Counts, tuple[Rejection, ...]]:
    with target.open("s") as session, session.writer("g1", SCHEMA, Format.ROWS) as writer:
        result = writer.write(Chunk(Position("1"), Format.ROWS, documents))
    return result.counts, result.rejected


def doc(version: int, title: str | None = "x", key: str = "a") -> Document:
    return Document((key,), version, None if title is None else {"title": title})


def test_an_older_write_changes_nothing(target: MemoryTarget) -> None:
    """Nor an older delete."""
    assert write(target, doc(5))[0] == Counts(created=1)
    assert write(target, doc(4, "old"), doc(4, None))[0] == Counts(version_conflicts=2)
    assert target.documents() == {("a",): {"title": "x"}}


def test_a_deleted_document_does_not_come_back(target: MemoryTarget) -> None:
    """Its version is remembered; a newer write makes it again."""
    write(target, doc(3))
    assert write(target, doc(5, None))[0] == Counts(deleted=1)
    assert write(target, doc(4))[0] == Counts(version_conflicts=1)
    assert target.documents() == {}
    assert target.stored() == {("a",): doc(5, None)}
    assert write(target, doc(6))[0] == Counts(created=1)


def test_a_delete_of_what_is_not_there_is_remembered_too(target: MemoryTarget) -> None:
    """So that a write that was on its way before it stays out."""
    assert write(target, doc(5, None))[0] == Counts(noops=1)
    assert write(target, doc(4))[0] == Counts(version_conflicts=1)


def test_the_same_version_again_is_a_noop_unless_the_document_differs(target: MemoryTarget) -> None:
    """A retry changes nothing; a backfill after a change of the transform does."""
    write(target, doc(5))
    assert write(target, doc(5))[0] == Counts(noops=1)
    assert write(target, doc(5, "y"))[0] == Counts(updated=1)
    assert write(target, doc(5, None))[0] == Counts(deleted=1)
    assert write(target, doc(5, "y"))[0] == Counts(created=1)


def test_it_refuses_as_told_and_takes_the_rest(target: MemoryTarget) -> None:
    """Deletions are never refused."""
    target.refuse = lambda d: "too long" if d.key == ("a",) else None
    counts, rejected = write(target, doc(1), doc(1, key="b"))
    assert (counts, rejected) == (Counts(created=1, failures=1), (Rejection(("a",), "too long"),))
    assert write(target, doc(2, None))[1] == ()


def test_it_breaks_as_told_and_only_once(target: MemoryTarget) -> None:
    """After so many chunks, within the next."""
    target.crash_after(1, documents=1)
    write(target, doc(1))
    with pytest.raises(TransientError, match="broke off"):
        write(target, doc(1, key="b"), doc(1, key="c"))
    assert set(target.documents()) == {("a",), ("b",)}
    write(target, doc(1, key="c"))


def test_nothing_is_found_before_a_generation_is_live(source: MemorySource) -> None:
    """The public name points nowhere until the first load is done."""
    target = MemoryTarget()
    with source.open() as read, target.open("s") as session:
        assert session.create_first("g1", read.schema()) == "g1"
        assert session.create_first("g2", read.schema()) == "g1"
        assert [(g.name, g.live) for g in session.generations()] == [("g1", False)]
        assert target.documents() == {}
        session.promote("g1")
        assert [(g.name, g.live) for g in session.generations()] == [("g1", True)]


def test_another_streams_index_is_not_taken(target: MemoryTarget) -> None:
    """The error names both."""
    with target.open("other") as session, pytest.raises(ConfigurationError, match=r"'s'.*'other'"):
        session.generations()


def test_a_generation_that_is_not_there_is_an_error(target: MemoryTarget) -> None:
    """It is named."""
    with target.open("s") as session, pytest.raises(ConfigurationError, match="'g9'"):
        session.promote("g9")


class TestMemoryCheckpoint(CheckpointStoreConformance):
    compare_and_set = True

    @pytest.fixture
    def store(self) -> MemoryCheckpoint:
        return MemoryCheckpoint()

    def corrupt(self, store: CheckpointStore, stream: str, generation: str) -> None:
        assert isinstance(store, MemoryCheckpoint)
        store.texts[stream, generation] = "{"
