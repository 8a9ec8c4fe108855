"""Generations and the public name: made once, seen from promotion on, and what each can hold."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Field, Format, Generation, Guarantee, Schema
from airflow_reindex_provider.core.protocols import MeasuredTarget
from airflow_reindex_provider.testing.target_suite.index import STREAM, Index, IndexSuite, doc, fill, published


class GenerationsSuite(IndexSuite):
    """The promises of ``core.protocols.TargetSession``."""

    def test_the_public_name_appears_at_promote(self, index: Index) -> None:
        """A first load is not to be seen half done; promoting twice is as promoting once."""
        with index.target.open(STREAM) as session:
            assert list(session.generations()) == []
            name = session.create_first(index.target.generation_name("20260101t000000"), index.schema())
            assert list(session.generations()) == [Generation(name, live=False)]
            with session.writer(name, index.schema(), Format.ROWS) as writer:
                writer.write(index.chunk([doc("1", 1, "x")], Format.ROWS))
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
        with published(index, Format.ROWS) as write:
            write(doc("1", 1, "x"))

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

    def test_it_knows_the_size_of_each_generation(self, index: Index) -> None:
        """Of those that are served, how many documents; of each how large it is, if it says so at all."""
        with index.target.open(STREAM) as session:
            if not isinstance(session, MeasuredTarget):
                pytest.skip("this target does not know how large its generations are")
            assert session.sizes() == {}
            name = session.create_first(index.target.generation_name("20260101t000000"), index.schema())
            fill(index, session, name, *(doc(str(n), 1, "x") for n in range(5)))
            session.promote(name)
            sizes = session.sizes()
        assert sizes.keys() == {name}
        found = sizes[name]
        assert found.documents == 5
        assert found.bytes is None or found.bytes > 0

    def test_it_states_its_guarantee(self, index: Index) -> None:
        """This suite is for targets that refuse older versions, and they say so."""
        assert index.target.guarantee is Guarantee.VERSIONED
        assert set(self.formats) == set(index.target.formats)
        assert index.target.chunk_rows > 0
