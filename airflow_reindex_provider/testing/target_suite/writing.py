"""Writing: what is counted, refused and remembered, in every format."""

from __future__ import annotations

import pytest

from airflow_reindex_provider.core.model import Counts, Format, WriteResult
from airflow_reindex_provider.core.observing import Metered
from airflow_reindex_provider.testing.target_suite.index import STREAM, Index, IndexSuite, doc, gone, published


class WritingSuite(IndexSuite):
    """The promises of ``core.protocols.Writer``."""

    def test_what_is_written_is_found(self, index: Index, format: Format) -> None:
        """Documents appear with their fields, and are counted as created."""
        with published(index, format) as write:
            result = write(doc("1", 1, "one"), doc('it\'s "2"', 2, "zwei \\ \n\t é 😀"))

        assert result == WriteResult(Counts(created=2))
        assert index.published() == {("1",): "one", ('it\'s "2"',): "zwei \\ \n\t é 😀"}

    def test_what_is_sent_is_counted(self, index: Index, format: Format) -> None:
        """A writer that says how many bytes the target has taken counts on with each chunk, and nothing that is not sent."""
        with index.target.open(STREAM) as session:
            name = session.create_first(index.target.generation_name("20260101t000000"), index.schema())
            with session.writer(name, index.schema(), format) as writer:
                if not isinstance(writer, Metered):
                    pytest.skip("this target's writer does not say what it sends")
                sent = [writer.traffic.bytes]
                for number in range(2):
                    writer.write(index.chunk([doc(str(number), 1, "some words")], format))
                    sent.append(writer.traffic.bytes)

        assert sent[0] == 0 < sent[1] < sent[2]

    def test_counts_say_what_happened(self, index: Index, format: Format) -> None:
        """Created, updated, deleted, and noop for the deletion of what never was; their sum is the number written."""
        with published(index, format) as write:
            write(doc("changes", 1, "old"), doc("goes", 1, "old"))
            result = write(doc("new", 2, "new"), doc("changes", 2, "new"), gone("goes", 2), gone("never was", 2))

        assert result == WriteResult(Counts(created=1, updated=1, deleted=1, noops=1))
        assert index.published() == {("new",): "new", ("changes",): "new"}

    def test_a_stale_write_is_refused(self, index: Index, format: Format) -> None:
        """A write older than what is held changes nothing and is counted as a version conflict, not as a failure."""
        with published(index, format) as write:
            write(doc("1", 5, "new"))
            result = write(doc("1", 4, "old"), doc("2", 4, "other"))

        assert result == WriteResult(Counts(created=1, version_conflicts=1))
        assert index.published() == {("1",): "new", ("2",): "other"}

    def test_a_stale_delete_is_refused(self, index: Index, format: Format) -> None:
        """A deletion older than what is held leaves the document."""
        with published(index, format) as write:
            write(doc("1", 5, "new"))
            result = write(gone("1", 4))

        assert result == WriteResult(Counts(version_conflicts=1))
        assert index.published() == {("1",): "new"}

    def test_a_deletion_is_remembered(self, index: Index, format: Format) -> None:
        """A late write cannot bring a deleted document back, also where the index had never held it; a newer one can."""
        with published(index, format) as write:
            write(doc("held", 1, "x"))
            write(gone("held", 5), gone("never held", 5))
            late = write(doc("held", 4, "late"), doc("never held", 4, "late"))
            assert index.published() == {}
            again = write(doc("held", 6, "again"), doc("never held", 6, "again"))

        assert late == WriteResult(Counts(version_conflicts=2))
        assert again.counts.created + again.counts.updated == again.counts.processed == 2
        assert index.published() == {("held",): "again", ("never held",): "again"}

    def test_the_same_version_is_taken(self, index: Index, format: Format) -> None:
        """A transform may have changed while the row has not: the same version writes again."""
        with published(index, format) as write:
            write(doc("1", 5, "one way"))
            result = write(doc("1", 5, "another way"))

        assert result == WriteResult(Counts(updated=1))
        assert index.published() == {("1",): "another way"}

    def test_a_chunk_written_twice_changes_nothing(self, index: Index, format: Format) -> None:
        """A crash may lose the answer to a chunk: writing it again leaves the index as it is and counts no creation."""
        documents = doc("1", 3, "one"), doc("2", 4, "two"), gone("3", 5)
        with published(index, format) as write:
            write(doc("3", 1, "three"))
            write(*documents)
            before = index.published()
            again = write(*documents)

        assert index.published() == before == {("1",): "one", ("2",): "two"}
        assert again.rejected == ()
        assert again.counts.created == 0
        assert again.counts.processed == 3
        if self.tells_noops:
            assert again.counts == Counts(noops=3)

    def test_counts_say_what_a_reader_sees(self, index: Index, format: Format) -> None:
        """A document that comes back is created; deleting what is not there is a noop, however often it was deleted."""
        with published(index, format) as write:
            history = [
                write(doc("1", 1, "one")).counts,
                write(doc("1", 2, "two")).counts,
                write(gone("1", 3)).counts,
                write(gone("1", 4)).counts,
                write(gone("2", 4)).counts,
                write(doc("1", 5, "again"), doc("2", 5, "first")).counts,
            ]

        assert history == [
            Counts(created=1),
            Counts(updated=1),
            Counts(deleted=1),
            Counts(noops=1),
            Counts(noops=1),
            Counts(created=2),
        ]

    def test_older_chunk_after_newer_one_changes_nothing(self, index: Index, format: Format) -> None:
        """A zombie writes a chunk that it read long ago, all of which has been overtaken."""
        with published(index, format) as write:
            write(*(doc(str(n), 10, "new") for n in range(50)))
            result = write(*(doc(str(n), 9, "old") if n % 2 else gone(str(n), 9) for n in range(50)))

        assert result == WriteResult(Counts(version_conflicts=50))
        assert index.published() == {(str(n),): "new" for n in range(50)}

    def test_a_refused_document_does_not_stop_the_rest(self, index: Index, format: Format) -> None:
        """What the target cannot take is named with key and reason and counted; every other document is written."""
        documents = [doc(f"{n:03}", 1, index.bad_body() if n in (0, 41, 42, 99) else "good") for n in range(100)]
        with published(index, format) as write:
            result = write(*documents)

        assert result.counts == Counts(created=96, failures=4)
        assert sorted(r.key for r in result.rejected) == [("000",), ("041",), ("042",), ("099",)]
        assert all(r.reason for r in result.rejected)
        assert index.published() == {(f"{n:03}",): "good" for n in range(100) if n not in (0, 41, 42, 99)}

    def test_a_refused_document_keeps_its_last_state(self, index: Index, format: Format) -> None:
        """A document whose new state is refused stays as it was, and its mended state is taken."""
        with published(index, format) as write:
            write(doc("1", 1, "good"))
            assert len(write(doc("1", 2, index.bad_body())).rejected) == 1
            assert index.published() == {("1",): "good"}
            write(doc("1", 3, "mended"))

        assert index.published() == {("1",): "mended"}

    def test_an_empty_chunk_is_taken(self, index: Index, format: Format) -> None:
        """A chunk may have lost all its rows before it was read."""
        with published(index, format) as write:
            assert write() == WriteResult(Counts())

    def test_writing_outlives_the_session(self, index: Index, format: Format) -> None:
        """What was acknowledged is there for another session, and the same session may open a second writer."""
        with index.target.open(STREAM) as session:
            name = session.create_first(index.target.generation_name("20260101t000000"), index.schema())
            for n in (1, 2):
                with session.writer(name, index.schema(), format) as writer:
                    writer.write(index.chunk([doc(str(n), n, "x")], format))
        with index.target.open(STREAM) as session:
            session.promote(name)

        assert index.published() == {("1",): "x", ("2",): "x"}
