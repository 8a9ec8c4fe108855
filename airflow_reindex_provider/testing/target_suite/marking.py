"""What carries this package's mark: told whosever stream it is of, and removed as long as it is that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_reindex_provider.core.cleaning.parts import MarkingTarget
from airflow_reindex_provider.core.model import Marked
from airflow_reindex_provider.core.protocols import TargetSession
from airflow_reindex_provider.testing.target_suite.index import STREAM, Index, IndexSuite, doc, fill, rebuilding_of


class MarkingSuite(IndexSuite):
    """The promises of ``core.cleaning.parts.MarkingTarget``."""

    def test_all_that_carries_the_mark_is_told_and_goes(self, index: Index) -> None:
        """Through any stream's session; in the order in which it is told, until nothing of it is left, and the name is free."""
        first, second = (index.target.generation_name(f"2026010{n}t000000") for n in (1, 2))
        with index.target.open(STREAM) as session:
            marking_of(session)
            rebuilt = rebuilding_of(session)
            rebuilt.create_first(first, index.schema())
            rebuilt.promote(first)
            rebuilt.create(second, index.schema())
            fill(index, rebuilt, first, doc("1", 1, "x"))
        with index.target.open("another stream") as other:
            found = _of(index, marking_of(other))
            assert sum(m.kind == "generation" for m in found) == 2
            assert not any(m.stray for m in found)
            of_others = [replace(m, stream="another stream") for m in found]
            assert not any(marking_of(other).unmake(m) for m in of_others)
            assert _of(index, marking_of(other)) == found
            assert index.published() == {("1",): "x"}
            assert all(marking_of(other).unmake(m) for m in found)
            assert _of(index, marking_of(other)) == []
            assert index.published() is None
            assert not any(marking_of(other).unmake(m) for m in found)
            assert list(other.generations()) == []
            other.create_first(first, index.schema())

    def test_a_generation_that_is_dropped_is_told_no_more(self, index: Index) -> None:
        """The live one stays, and is served."""
        first, second = (index.target.generation_name(f"2026010{n}t000000") for n in (1, 2))
        with index.target.open(STREAM) as session:
            rebuilt = rebuilding_of(session)
            marking_of(session)
            rebuilt.create_first(first, index.schema())
            rebuilt.promote(first)
            before = _of(index, marking_of(session))
            rebuilt.create(second, index.schema())
            assert len(_of(index, marking_of(session))) == len(before) + 1
            rebuilt.drop(second)
            assert _of(index, marking_of(session)) == before


def marking_of(session: TargetSession) -> MarkingTarget:
    if not isinstance(session, MarkingTarget):
        pytest.skip("this target does not tell what carries our mark")
    return session


def _of(index: Index, session: MarkingTarget) -> list[Marked]:
    """Without sizes, which change, and without what others have at the same place meanwhile: they may call a stream the same."""
    name = index.target.generation_name("20260101t000000").removesuffix("_20260101t000000")
    return [replace(m, bytes=None) for m in session.marked() if m.stream == STREAM and name in m.name]
