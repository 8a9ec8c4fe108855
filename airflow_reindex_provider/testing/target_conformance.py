"""What every target must do, for anyone who writes one.

Subclass :class:`TargetConformance` in a test module and give it an ``index`` fixture: the target under test and a way to
look at it from outside::

    class TestMyTarget(TargetConformance):
        @pytest.fixture
        def index(self):
            return MyIndex(...)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Protocol

import pytest

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ConfigurationError, GenerationGoneError
from airflow_reindex_provider.core.keys import KeyRange, key_kinds, placing
from airflow_reindex_provider.core.model import (
    Chunk,
    Counts,
    Document,
    Field,
    Format,
    Generation,
    Guarantee,
    Key,
    Schema,
    WriteResult,
)
from airflow_reindex_provider.core.planning import current_generation, is_superseded
from airflow_reindex_provider.core.protocols import ListingTarget, RebuildingTarget, Target, TargetSession, Writer

STREAM = "products"


class Index(Protocol):
    """The suite's view of one target."""

    @property
    def target(self) -> Target:
        """Its public name must be free at the start."""

    def schema(self) -> Schema:
        """A schema with the key ``id`` (text) and a field ``body`` (text)."""

    def published(self) -> Mapping[Key, str] | None:
        """``body`` by key as a search finds it under the public name; None while that name does not exist."""

    def chunk(self, documents: Sequence[Document], format: Format) -> Chunk:
        """The documents as a chunk in this format. A document's ``fields`` hold ``id`` and ``body``."""

    def bad_body(self) -> str:
        """A ``body`` that this target refuses, while it takes others."""

    def occupy(self) -> None:
        """Put something that is not ours in the place of the public name."""

    def occupant_is_unharmed(self) -> bool: ...


def text_schema() -> Schema:
    """What :meth:`Index.schema` can return for a target whose types go by Postgres' names."""
    return Schema(
        fields=(Field("id", "text", "text", nullable=False), Field("body", "text", "text")),
        primary_key=("id",),
        cursor_type=CursorType.INTEGER,
        has_deletes=True,
    )


class TargetConformance(ABC):
    """The promises of ``core.protocols.TargetSession`` and ``Writer`` as tests. Each needs an index that does not exist."""

    tells_noops: bool = False
    """Whether a write that changes nothing is counted as a noop instead of an update (or a deletion)."""
    formats: Sequence[Format] = (Format.ROWS,)
    """The formats to run the writing tests in; all that the target accepts."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "format" in metafunc.fixturenames:
            metafunc.parametrize("format", metafunc.cls.formats, ids=str)

    @pytest.fixture
    @abstractmethod
    def index(self) -> Index:
        """A target without generations."""

    # -- writing

    def test_what_is_written_is_found(self, index: Index, format: Format) -> None:
        """Documents appear with their fields, and are counted as created."""
        with _published(index, format) as write:
            result = write(_doc("1", 1, "one"), _doc('it\'s "2"', 2, "zwei \\ \n\t é 😀"))

        assert result == WriteResult(Counts(created=2))
        assert index.published() == {("1",): "one", ('it\'s "2"',): "zwei \\ \n\t é 😀"}

    def test_counts_say_what_happened(self, index: Index, format: Format) -> None:
        """Created, updated, deleted, and noop for the deletion of what never was; their sum is the number written."""
        with _published(index, format) as write:
            write(_doc("changes", 1, "old"), _doc("goes", 1, "old"))
            result = write(_doc("new", 2, "new"), _doc("changes", 2, "new"), _gone("goes", 2), _gone("never was", 2))

        assert result == WriteResult(Counts(created=1, updated=1, deleted=1, noops=1))
        assert index.published() == {("new",): "new", ("changes",): "new"}

    def test_a_stale_write_is_refused(self, index: Index, format: Format) -> None:
        """A write older than what is held changes nothing and is counted as a version conflict, not as a failure."""
        with _published(index, format) as write:
            write(_doc("1", 5, "new"))
            result = write(_doc("1", 4, "old"), _doc("2", 4, "other"))

        assert result == WriteResult(Counts(created=1, version_conflicts=1))
        assert index.published() == {("1",): "new", ("2",): "other"}

    def test_a_stale_delete_is_refused(self, index: Index, format: Format) -> None:
        """A deletion older than what is held leaves the document."""
        with _published(index, format) as write:
            write(_doc("1", 5, "new"))
            result = write(_gone("1", 4))

        assert result == WriteResult(Counts(version_conflicts=1))
        assert index.published() == {("1",): "new"}

    def test_a_deletion_is_remembered(self, index: Index, format: Format) -> None:
        """A late write cannot bring a deleted document back, also where the index had never held it; a newer one can."""
        with _published(index, format) as write:
            write(_doc("held", 1, "x"))
            write(_gone("held", 5), _gone("never held", 5))
            late = write(_doc("held", 4, "late"), _doc("never held", 4, "late"))
            assert index.published() == {}
            again = write(_doc("held", 6, "again"), _doc("never held", 6, "again"))

        assert late == WriteResult(Counts(version_conflicts=2))
        assert again.counts.created + again.counts.updated == again.counts.processed == 2
        assert index.published() == {("held",): "again", ("never held",): "again"}

    def test_the_same_version_is_taken(self, index: Index, format: Format) -> None:
        """A transform may have changed while the row has not: the same version writes again."""
        with _published(index, format) as write:
            write(_doc("1", 5, "one way"))
            result = write(_doc("1", 5, "another way"))

        assert result == WriteResult(Counts(updated=1))
        assert index.published() == {("1",): "another way"}

    def test_a_chunk_written_twice_changes_nothing(self, index: Index, format: Format) -> None:
        """A crash may lose the answer to a chunk: writing it again leaves the index as it is and counts no creation."""
        documents = _doc("1", 3, "one"), _doc("2", 4, "two"), _gone("3", 5)
        with _published(index, format) as write:
            write(_doc("3", 1, "three"))
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
        with _published(index, format) as write:
            history = [
                write(_doc("1", 1, "one")).counts,
                write(_doc("1", 2, "two")).counts,
                write(_gone("1", 3)).counts,
                write(_gone("1", 4)).counts,
                write(_gone("2", 4)).counts,
                write(_doc("1", 5, "again"), _doc("2", 5, "first")).counts,
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
        with _published(index, format) as write:
            write(*(_doc(str(n), 10, "new") for n in range(50)))
            result = write(*(_doc(str(n), 9, "old") if n % 2 else _gone(str(n), 9) for n in range(50)))

        assert result == WriteResult(Counts(version_conflicts=50))
        assert index.published() == {(str(n),): "new" for n in range(50)}

    def test_a_refused_document_does_not_stop_the_rest(self, index: Index, format: Format) -> None:
        """What the target cannot take is named with key and reason and counted; every other document is written."""
        documents = [_doc(f"{n:03}", 1, index.bad_body() if n in (0, 41, 42, 99) else "good") for n in range(100)]
        with _published(index, format) as write:
            result = write(*documents)

        assert result.counts == Counts(created=96, failures=4)
        assert sorted(r.key for r in result.rejected) == [("000",), ("041",), ("042",), ("099",)]
        assert all(r.reason for r in result.rejected)
        assert index.published() == {(f"{n:03}",): "good" for n in range(100) if n not in (0, 41, 42, 99)}

    def test_a_refused_document_keeps_its_last_state(self, index: Index, format: Format) -> None:
        """A document whose new state is refused stays as it was, and its mended state is taken."""
        with _published(index, format) as write:
            write(_doc("1", 1, "good"))
            assert len(write(_doc("1", 2, index.bad_body())).rejected) == 1
            assert index.published() == {("1",): "good"}
            write(_doc("1", 3, "mended"))

        assert index.published() == {("1",): "mended"}

    def test_an_empty_chunk_is_taken(self, index: Index, format: Format) -> None:
        """A chunk may have lost all its rows before it was read."""
        with _published(index, format) as write:
            assert write() == WriteResult(Counts())

    def test_writing_outlives_the_session(self, index: Index, format: Format) -> None:
        """What was acknowledged is there for another session, and the same session may open a second writer."""
        with index.target.open(STREAM) as session:
            name = session.create_first(index.target.generation_name("20260101t000000"), index.schema())
            for n in (1, 2):
                with session.writer(name, index.schema(), format) as writer:
                    writer.write(index.chunk([_doc(str(n), n, "x")], format))
        with index.target.open(STREAM) as session:
            session.promote(name)

        assert index.published() == {("1",): "x", ("2",): "x"}

    # -- generations and the public name

    def test_the_public_name_appears_at_promote(self, index: Index) -> None:
        """A first load is not to be seen half done; promoting twice is as promoting once."""
        with index.target.open(STREAM) as session:
            assert list(session.generations()) == []
            name = session.create_first(index.target.generation_name("20260101t000000"), index.schema())
            assert list(session.generations()) == [Generation(name, live=False)]
            with session.writer(name, index.schema(), Format.ROWS) as writer:
                writer.write(index.chunk([_doc("1", 1, "x")], Format.ROWS))
            assert index.published() is None
            session.promote(name)
            assert index.published() == {("1",): "x"}
            session.promote(name)
            assert list(session.generations()) == [Generation(name, live=True)]
        assert index.published() == {("1",): "x"}

    def test_the_first_generation_is_made_once(self, index: Index) -> None:
        """Of two runs that make the first generation at the same moment one does; both go on with the same."""
        at_once = Barrier(2)

        def create(stamp: str) -> str:
            with index.target.open(STREAM) as session:
                at_once.wait()
                return session.create_first(index.target.generation_name(stamp), index.schema())

        with ThreadPoolExecutor(2) as pool:
            names = set(pool.map(create, ("20260101t000000", "20260101t000001")))

        with index.target.open(STREAM) as session:
            assert {g.name for g in session.generations()} == names
            assert len(names) == 1

    def test_two_promoters_agree(self, index: Index) -> None:
        """Two runs may close at the same moment: both succeed, and the name points at the generation."""
        with index.target.open(STREAM) as session:
            name = session.create_first(index.target.generation_name("20260101t000000"), index.schema())
        at_once = Barrier(2)

        def promote(_: int) -> None:
            with index.target.open(STREAM) as session:
                at_once.wait()
                session.promote(name)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(promote, range(2)))

        assert index.published() == {}

    def test_a_name_that_is_not_ours_is_left_alone(self, index: Index) -> None:
        """The public name is taken by something else: an error that names it, before anything is made."""
        index.occupy()

        with index.target.open(STREAM) as session:
            for attempt in (
                session.generations,
                lambda: session.create_first(index.target.generation_name("20260101t000000"), index.schema()),
            ):
                with pytest.raises(ConfigurationError, match="left alone") as caught:
                    attempt()
                assert index.target.label in str(caught.value)
        assert index.occupant_is_unharmed()

    def test_another_streams_index_is_left_alone(self, index: Index) -> None:
        """Two streams with one index name: the second is refused and the first keeps its documents."""
        with _published(index, Format.ROWS) as write:
            write(_doc("1", 1, "x"))

        with (
            index.target.open("another stream") as session,
            pytest.raises(ConfigurationError, match=STREAM),
        ):
            session.generations()
        assert index.published() == {("1",): "x"}

    def test_generation_names_tell_their_time(self, index: Index) -> None:
        """Another stamp, another name, in the order of time."""
        names = [index.target.generation_name(s) for s in ("20260101t000000", "20260101t000001", "20270101t000000")]
        assert len(set(names)) == 3
        assert sorted(names) == names

    # -- what a generation holds

    def test_a_generation_that_is_gone_is_an_error(self, index: Index) -> None:
        """A batch planned for a generation that was dropped since says so, instead of making another."""
        with index.target.open(STREAM) as session:
            gone = index.target.generation_name("20260101t000000")
            with pytest.raises(ConfigurationError, match=gone):
                session.fields(gone, index.schema())
            assert list(session.generations()) == []

    def test_the_fields_are_the_sources(self, index: Index) -> None:
        """A generation holds what its schema had."""
        with index.target.open(STREAM) as session:
            name = session.create_first(index.target.generation_name("20260101t000000"), index.schema())
            assert sorted(session.fields(name, index.schema())) == ["body", "id"]

    def test_a_column_gone_at_the_source_is_an_error(self, index: Index) -> None:
        """A renamed column would be NULL in every document from now on: the error names it."""
        schema = index.schema()
        renamed = Schema(
            tuple(Field("renamed", f.type, f.wire_type) if f.name == "body" else f for f in schema.fields),
            schema.primary_key,
            schema.cursor_type,
        )
        with index.target.open(STREAM) as session:
            name = session.create_first(index.target.generation_name("20260101t000000"), schema)
            with pytest.raises(ConfigurationError, match="body"):
                session.fields(name, renamed)

    # -- keys

    def test_keys_are_listed_in_the_shared_order(self, index: Index) -> None:
        """What is there, with versions, in the order of ``core.keys``, range by range; what was deleted is left out or said
        to be gone."""
        words = ["", "a", "B", "é", "10", "9", "😀", "it's", "a b", 'x"\\y', "z%s"]
        schema = index.schema()
        place_of = placing(key_kinds(schema))
        with _published(index, Format.ROWS) as write:
            write(*(_doc(word, 5 + n, "x") for n, word in enumerate(words) if word), _doc("gone", 1, "x"))
            write(_gone("gone", 2), _gone("never", 2))
        with index.target.open(STREAM) as session:
            lister = _lister(session)
            generation = current_generation(session) or ""
            ranges = KeyRange().cut([("9",), ("a b",), ("it's",)])
            listed = [[e for page in lister.keys(generation, part, schema) for e in page] for part in ranges]
            whole = [e for page in lister.keys(generation, KeyRange(), schema) for e in page]

        there = {e.key: e.version for e in whole if not e.gone}
        assert there == {(word,): 5 + n for n, word in enumerate(words) if word}
        assert {e.key for e in whole if e.gone} <= {("gone",), ("never",)}
        assert [e for part in listed for e in part] == whole
        assert [e.key for e in whole] == sorted((e.key for e in whole), key=place_of)
        assert all(place_of(part[-1].key) < place_of(r.end) for r, part in zip(ranges, listed, strict=True) if r.end)

    def test_many_keys_come_in_pages(self, index: Index) -> None:
        """None twice, none left out where one page ends."""
        keys = [f"{n:05}" for n in range(2_500)]
        with _published(index, Format.ROWS) as write:
            write(*(_doc(key, 1, "x") for key in keys))
        with index.target.open(STREAM) as session:
            lister = _lister(session)
            generation = current_generation(session) or ""
            pages = list(lister.keys(generation, KeyRange(), index.schema()))

        assert [e.key[0] for page in pages for e in page] == keys
        assert len(pages) > 1

    def test_checksums_tell_documents_apart(self, index: Index) -> None:
        """They follow keys and versions below the bound alone; deleted documents are not in them."""
        schema = index.schema()
        with _published(index, Format.ROWS) as write:
            write(*(_doc(str(n), 1, "x") for n in range(10)))
            with index.target.open(STREAM) as session:
                lister = _lister(session)
                generation = current_generation(session) or ""
                before = lister.checksum(generation, KeyRange(), schema, below=5)
                if before is None:
                    pytest.skip("this target computes no checksums")
                write(_doc("new", 5, "x"), _doc("gone", 1, "x"))
                write(_gone("gone", 2))
                assert lister.checksum(generation, KeyRange(), schema, below=5) == before
                assert before.count == 10
                write(_doc("3", 2, "x"))
                after = lister.checksum(generation, KeyRange(), schema, below=5)
                assert after is not None
                assert (after.count, after.digest == before.digest) == (10, False)

    # -- generations, for a rebuild

    def test_another_generation_is_swapped_in(self, index: Index) -> None:
        """A second generation is not seen until it is promoted, then it alone; promoting again, and back, is the same."""
        first, second = (index.target.generation_name(f"2026010{n}t000000") for n in (1, 2))
        with index.target.open(STREAM) as session:
            rebuilt = _rebuilder(session)
            rebuilt.create_first(first, index.schema())
            _fill(index, rebuilt, first, _doc("1", 1, "old"), _doc("2", 1, "old"))
            rebuilt.promote(first)
            for _ in range(2):
                rebuilt.create(second, index.schema())
            _fill(index, rebuilt, second, _doc("1", 2, "new"), _gone("2", 2))
            assert index.published() == {("1",): "old", ("2",): "old"}
            assert [(g.live, g.served) for g in rebuilt.generations()] == [(True, True), (False, False)]
            for _ in range(2):
                rebuilt.promote(second)
            assert index.published() == {("1",): "new"}
            assert [(g.live, g.served) for g in rebuilt.generations()] == [(False, True), (True, True)]
            assert (rebuilt.count(first), rebuilt.count(second)) == (2, 1)
            rebuilt.promote(first)
            assert index.published() == {("1",): "old", ("2",): "old"}

    def test_what_the_new_generation_lacks_is_carried_over(self, index: Index) -> None:
        """Documents with their versions, within the swap; never over what the new one has, nor past a newer deletion."""
        first, second = (index.target.generation_name(f"2026010{n}t000000") for n in (1, 2))
        with index.target.open(STREAM) as session:
            rebuilt = _rebuilder(session)
            schema = index.schema()
            rebuilt.create_first(first, schema)
            held = [
                _doc(key, 5, "live") for key in ("has", "has older", "lacks", "gone before", "gone since", "unasked")
            ]
            _fill(index, rebuilt, first, *held, _doc("gone", 1, "live"))
            _fill(index, rebuilt, first, _gone("gone", 5))
            rebuilt.promote(first)
            rebuilt.create(second, schema)
            _fill(index, rebuilt, second, _doc("has", 5, "new"), _doc("has older", 4, "new"))
            _fill(index, rebuilt, second, _gone("gone before", 4), _gone("gone since", 6))
            asked = [(key,) for key in ("has", "has older", "lacks", "gone before", "gone since", "gone", "never was")]
            carried: list[int] = []

            def carry(live: str) -> None:
                assert live == first
                assert index.published() == {d.key: "live" for d in held}
                carried.append(rebuilt.carry_over(asked, schema, from_generation=live, to_generation=second))
                carried.append(rebuilt.carry_over([], schema, from_generation=live, to_generation=second))

            rebuilt.promote(second, carry=carry)
            assert carried == [2, 0]
            assert index.published() == {
                ("has",): "new",
                ("has older",): "new",
                ("lacks",): "live",
                ("gone before",): "live",
            }
            _fill(index, rebuilt, second, _doc("lacks", 4, "older"), _doc("gone before", 5, "the same version"))
            published = index.published() or {}
            assert (published["lacks",], published["gone before",]) == ("live", "the same version")
            rebuilt.promote(second, carry=carry)
            assert len(carried) == 2

    def test_a_swap_whose_carrying_fails_does_not_happen(self, index: Index) -> None:
        """The live generation is served as before, and the next try swaps."""
        first, second = (index.target.generation_name(f"2026010{n}t000000") for n in (1, 2))

        def carry(live: str) -> None:
            raise ConfigurationError("the source is gone")

        with index.target.open(STREAM) as session:
            rebuilt = _rebuilder(session)
            rebuilt.create_first(first, index.schema())
            rebuilt.promote(first, carry=carry)  # nothing is live, so there is nothing to carry
            _fill(index, rebuilt, first, _doc("1", 1, "old"))
            rebuilt.create(second, index.schema())
            _fill(index, rebuilt, second, _doc("1", 1, "new"))
            with pytest.raises(ConfigurationError, match="the source is gone"):
                rebuilt.promote(second, carry=carry)
            assert index.published() == {("1",): "old"}
            assert [g.live for g in rebuilt.generations()] == [True, False]
            _fill(index, rebuilt, first, _doc("2", 2, "old"))
            rebuilt.promote(second)
            assert index.published() == {("1",): "new"}

    def test_the_live_generation_is_not_dropped(self, index: Index) -> None:
        """Another one is, and dropping it again is no error."""
        first, second = (index.target.generation_name(f"2026010{n}t000000") for n in (1, 2))
        with index.target.open(STREAM) as session:
            rebuilt = _rebuilder(session)
            rebuilt.create_first(first, index.schema())
            rebuilt.promote(first)
            rebuilt.create(second, index.schema())
            with pytest.raises(ConfigurationError, match="live one"):
                rebuilt.drop(first)
            for _ in range(2):
                rebuilt.drop(second)
            assert [g.name for g in rebuilt.generations()] == [first]

    def test_a_run_in_flight_finds_its_generation_dropped(self, index: Index, format: Format) -> None:
        """Between two chunks, and before the first: an error that says so, nothing made anew, the live one as it was."""
        first, second = (index.target.generation_name(f"2026010{n}t000000") for n in (1, 2))
        with index.target.open(STREAM) as session, index.target.open(STREAM) as other:
            rebuilt, schema = _rebuilder(other), index.schema()
            session.create_first(first, schema)
            session.promote(first)

            def run(between: Callable[[], None]) -> None:
                with session.writer(first, schema, format) as writer:
                    writer.write(index.chunk([_doc("1", 1, "old")], format))
                    between()
                    writer.write(index.chunk([_doc("2", 2, "late")], format))

            def retire() -> None:
                rebuilt.create(second, schema)
                rebuilt.promote(second)
                assert not is_superseded(session, first)
                rebuilt.drop(first)

            for _ in range(2):
                with pytest.raises(GenerationGoneError, match=first):
                    run(retire)
            assert is_superseded(session, first)
            assert not is_superseded(session, second)
            assert [g.name for g in session.generations()] == [second]
            assert index.published() == {}

    def test_values_that_differ_are_found(self, index: Index) -> None:
        """Of documents with the version held, those with other values and the field; other versions are not judged."""
        with index.target.open(STREAM) as session:
            rebuilt = _rebuilder(session)
            name = rebuilt.create_first(index.target.generation_name("20260101t000000"), index.schema())
            _fill(index, rebuilt, name, _doc("1", 1, "one"), _doc("2", 1, "two"), _doc("3", 1, "three"))
            asked = [_doc("1", 1, "one"), _doc("2", 1, "zwei"), _doc("3", 2, "drei"), _doc("4", 1, "four")]
            assert list(rebuilt.differing(name, asked, index.schema())) == [(("2",), "body")]
            assert list(rebuilt.differing(name, [], index.schema())) == []
            assert rebuilt.count(name) == 3

    def test_it_states_its_guarantee(self, index: Index) -> None:
        """This suite is for targets that refuse older versions, and they say so."""
        assert index.target.guarantee is Guarantee.VERSIONED
        assert set(self.formats) == set(index.target.formats)
        assert index.target.chunk_rows > 0


def _rebuilder(session: TargetSession) -> RebuildingTarget:
    if not isinstance(session, RebuildingTarget):
        pytest.skip("this target holds one generation at a time")
    return session


def _fill(index: Index, session: TargetSession, generation: str, *documents: Document) -> None:
    with session.writer(generation, index.schema(), Format.ROWS) as writer:
        writer.write(index.chunk(documents, Format.ROWS))


def _lister(session: TargetSession) -> ListingTarget:
    if not isinstance(session, ListingTarget):
        pytest.skip("this target does not list its keys")
    return session


class _Write(Protocol):
    def __call__(self, *documents: Document) -> WriteResult: ...


@contextmanager
def _published(index: Index, format: Format) -> Iterator[_Write]:
    """A live generation, and a function that writes one chunk into it."""
    with index.target.open(STREAM) as session:
        name = session.create_first(index.target.generation_name("20260101t000000"), index.schema())
        session.promote(name)
        assert current_generation(session) == name
        with session.writer(name, index.schema(), format) as writer:
            yield _writing(index, writer, format)


def _writing(index: Index, writer: Writer, format: Format) -> _Write:
    def write(*documents: Document) -> WriteResult:
        return writer.write(index.chunk(documents, format))

    return write


def _doc(key: str, version: int, body: str) -> Document:
    return Document((key,), version, {"id": key, "body": body})


def _gone(key: str, version: int) -> Document:
    return Document((key,), version, None)
