"""Generations beside the live one: swapped in, carried over to, dropped."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_reindex_provider.core.errors import ConfigurationError, GenerationGoneError
from airflow_reindex_provider.core.model import Format
from airflow_reindex_provider.core.planning import is_superseded
from airflow_reindex_provider.testing.target_suite.index import (
    STREAM,
    Index,
    IndexSuite,
    doc,
    fill,
    gone,
    rebuilding_of,
)


class RebuildingSuite(IndexSuite):
    """The promises of ``core.protocols.RebuildingTarget``."""

    def test_another_generation_is_swapped_in(self, index: Index) -> None:
        """A second generation is not seen until it is promoted, then it alone; promoting again, and back, is the same."""
        first, second = (index.target.generation_name(f"2026010{n}t000000") for n in (1, 2))
        with index.target.open(STREAM) as session:
            rebuilt = rebuilding_of(session)
            rebuilt.create_first(first, index.schema())
            fill(index, rebuilt, first, doc("1", 1, "old"), doc("2", 1, "old"))
            rebuilt.promote(first)
            for _ in range(2):
                rebuilt.create(second, index.schema())
            fill(index, rebuilt, second, doc("1", 2, "new"), gone("2", 2))
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
            rebuilt = rebuilding_of(session)
            schema = index.schema()
            rebuilt.create_first(first, schema)
            held = [
                doc(key, 5, "live") for key in ("has", "has older", "lacks", "gone before", "gone since", "unasked")
            ]
            fill(index, rebuilt, first, *held, doc("gone", 1, "live"))
            fill(index, rebuilt, first, gone("gone", 5))
            rebuilt.promote(first)
            rebuilt.create(second, schema)
            fill(index, rebuilt, second, doc("has", 5, "new"), doc("has older", 4, "new"))
            fill(index, rebuilt, second, gone("gone before", 4), gone("gone since", 6))
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
            fill(index, rebuilt, second, doc("lacks", 4, "older"), doc("gone before", 5, "the same version"))
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
            rebuilt = rebuilding_of(session)
            rebuilt.create_first(first, index.schema())
            rebuilt.promote(first, carry=carry)  # nothing is live, so there is nothing to carry
            fill(index, rebuilt, first, doc("1", 1, "old"))
            rebuilt.create(second, index.schema())
            fill(index, rebuilt, second, doc("1", 1, "new"))
            with pytest.raises(ConfigurationError, match="the source is gone"):
                rebuilt.promote(second, carry=carry)
            assert index.published() == {("1",): "old"}
            assert [g.live for g in rebuilt.generations()] == [True, False]
            fill(index, rebuilt, first, doc("2", 2, "old"))
            rebuilt.promote(second)
            assert index.published() == {("1",): "new"}

    def test_the_live_generation_is_not_dropped(self, index: Index) -> None:
        """Another one is, and dropping it again is no error."""
        first, second = (index.target.generation_name(f"2026010{n}t000000") for n in (1, 2))
        with index.target.open(STREAM) as session:
            rebuilt = rebuilding_of(session)
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
            rebuilt, schema = rebuilding_of(other), index.schema()
            session.create_first(first, schema)
            session.promote(first)

            def run(between: Callable[[], None]) -> None:
                with session.writer(first, schema, format) as writer:
                    writer.write(index.chunk([doc("1", 1, "old")], format))
                    between()
                    writer.write(index.chunk([doc("2", 2, "late")], format))

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
            rebuilt = rebuilding_of(session)
            name = rebuilt.create_first(index.target.generation_name("20260101t000000"), index.schema())
            fill(index, rebuilt, name, doc("1", 1, "one"), doc("2", 1, "two"), doc("3", 1, "three"))
            asked = [doc("1", 1, "one"), doc("2", 1, "zwei"), doc("3", 2, "drei"), doc("4", 1, "four")]
            assert list(rebuilt.differing(name, asked, index.schema())) == [(("2",), "body")]
            assert list(rebuilt.differing(name, [], index.schema())) == []
            assert rebuilt.count(name) == 3
