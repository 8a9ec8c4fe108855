"""What is remembered of a stream: two of one name are refused, a vanished index and a replaced source are said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import CheckpointInvalidError
from airflow_reindex_provider.core.model import Survey
from airflow_reindex_provider.core.remembered import STREAM, Memory, Remembered, Route
from airflow_reindex_provider.core.windows import Request
from airflow_reindex_provider.testing.memory import MemoryCheckpoint, MemorySource, MemorySourceSession, MemoryTarget
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper

HERE = {"server": "1", "timeline": "1", "database": "5", "table": "16390"}


class Table(MemorySource):
    """A table that shows an identity, as a database does."""

    def __init__(self, label: str, identity: Mapping[str, str] = HERE) -> None:
        super().__init__(now_us=10)
        self.label = label  # type: ignore[misc]
        self.identity = dict(identity)
        with self.transaction() as transaction:
            transaction.put({"id": "a", "title": "x"})
        self.now_us += 1

    @contextmanager
    def open(self) -> Iterator[MemorySourceSession]:
        yield Identified(self)


class Identified(MemorySourceSession):
    def survey(self) -> Survey:
        return replace(super().survey(), identity=self._source.identity)  # type: ignore[attr-defined]


def runner(store: MemoryCheckpoint, source: str = "items", index: str = "index", **identity: str) -> Runner:
    return Runner(
        source=Table(source, {**HERE, **identity}), target=MemoryTarget(name=index), store=store, stream="products"
    )


def said(run: Runner, word: str) -> list[str]:
    return [warning for warning in run.plan(Request(dry_run=True)).warnings if word in warning]


def test_two_streams_of_one_name_are_refused() -> None:
    """Before anything is made; by a run, a rebuild and a sweep. The message names both, and how to say that it is one."""
    store = MemoryCheckpoint()
    runner(store).run()
    other = runner(store, "other items", "other index", table="16999")
    for what in (other.plan, lambda: Rebuilder(run=other).begin("20260101t000000")):
        with pytest.raises(
            CheckpointInvalidError, match=r"items with index 'index'.*other items.*accept_changes.*reset\("
        ):
            what()
    with other.target.open("products") as session:
        assert list(session.generations()) == []


def test_a_sweep_of_another_stream_is_refused() -> None:
    """It would delete what the other one has written."""
    store = MemoryCheckpoint()
    run = runner(store)
    run.run()
    with pytest.raises(CheckpointInvalidError, match="accept_changes"):
        Sweeper(run=replace(run, source=Table("other items", {**HERE, "table": "1"}))).plan()


@pytest.mark.parametrize(
    ("source", "index", "identity", "allowed"),
    [
        ("items", "index", {}, True),
        ("items by another name", "index", {}, True),
        ("items by another name", "index", {"table": "99"}, False),
        ("items by another name", "index", {"database": "99"}, False),
        ("items by another name", "index", {"server": "99"}, False),
        ("items", "another index", {}, False),
        ("items by another name", "another index", {}, False),
    ],
)
def test_what_is_the_same_stream(source: str, index: str, identity: dict[str, str], allowed: bool) -> None:
    """A table or a connection may be renamed, as far as the server shows that it is the same table."""
    store = MemoryCheckpoint()
    run = runner(store)
    run.run()
    again = runner(store, source, index, **identity)
    if index == "index":
        again.target = run.target
    if allowed:
        again.run()
        again.run()
        assert source in store.texts["products", STREAM]
    else:
        with pytest.raises(CheckpointInvalidError):
            again.plan()
        store.reset("products", STREAM)
        again.run()


def test_a_source_without_an_identity_is_known_by_its_name() -> None:
    """A query on a connection that was renamed must be accepted by a person."""
    store = MemoryCheckpoint()
    run = Runner(source=Table("items", {}), target=MemoryTarget(), store=store)
    run.run()
    with pytest.raises(CheckpointInvalidError, match="accept_changes"):
        replace(run, source=Table("renamed", {})).plan()


def test_checkpoints_from_before_are_taken_over_in_silence() -> None:
    """Where nothing is remembered yet, the first run remembers; a dry run does not."""
    store = MemoryCheckpoint()
    run = runner(store)
    run.run()
    store.reset("products", STREAM)

    assert run.plan(Request(dry_run=True)).warnings == ()
    assert ("products", STREAM) not in store.texts
    assert run.run().plan.warnings == ()
    known = Memory(store, "products", run.route).known
    assert known == Remembered(Route("items", "index 'index' in memory"), run.plan().generation, HERE)
    before = store.texts["products", STREAM]
    run.run()
    assert store.texts["products", STREAM] == before


def test_an_index_that_vanished_is_said() -> None:
    """It is loaded anew, and the plan names it and how far it had come."""
    store = MemoryCheckpoint()
    run = runner(store)
    first = run.run()
    run.target = MemoryTarget(name="index")

    (warning,) = said(run, "none of it any more")
    assert first.plan.generation in warning
    assert str(first.checkpoint_after) in warning
    again = run.run()
    assert again.counts.created == 1
    assert said(run, "none of it any more") == []


def test_a_public_name_that_vanished_is_said_and_made_again() -> None:
    """The newest generation that had it gets it back, not the oldest that is kept for a rollback."""
    run = runner(MemoryCheckpoint())
    run.run()
    rebuild = Rebuilder(run=run)
    rebuild.rebuild("20270101t000000")
    target: Any = run.target
    live, target._live = target._live, None
    run.source.now_us += 1  # type: ignore[attr-defined]

    (warning,) = said(run, "public")
    assert live in warning
    run.run()
    assert target._live == live


@pytest.mark.parametrize("name", list(HERE))
def test_a_source_that_was_replaced_is_said_until_the_index_is_made_anew(name: str) -> None:
    """In every plan; a rebuild reads what is there now, and so does a first load."""
    store = MemoryCheckpoint()
    run = runner(store)
    run.run()
    run.source.identity[name] = "other"  # type: ignore[attr-defined]

    for _ in range(2):
        (warning,) = said(run, "not the one that")
        assert f"{name} other instead of {HERE[name]}" in warning
        run.run()
    Rebuilder(run=run).rebuild("20270101t000000")
    assert said(run, "not the one that") == []
    run.run()
    assert said(run, "not the one that") == []
    assert "other" in store.texts["products", STREAM]


def test_what_can_no_longer_be_seen_is_no_change() -> None:
    """A grant that is gone, or a standby that does not say its timeline, says nothing of the source."""
    run = runner(MemoryCheckpoint())
    run.run()
    run.source.identity.clear()  # type: ignore[attr-defined]
    assert said(run, "not the one that") == []


@pytest.mark.parametrize(("name", "refused"), [(n, n != "timeline") for n in HERE])
def test_numbers_of_another_source_are_refused(name: str, refused: bool) -> None:
    """They are other changes. A timeline alone is a standby that took over, which goes on counting."""
    store = MemoryCheckpoint()
    run = runner(store)
    run.run()
    with run.source.open() as source:
        survey = source.survey()
    survey = replace(
        survey,
        schema=replace(survey.schema, cursor_type=CursorType.INTEGER),
        identity={**survey.identity, name: "other"},
    )
    memory = Memory(store, "products", run.route)
    generation = run.plan().generation
    if refused:
        with pytest.raises(CheckpointInvalidError, match="Rebuild the index"):
            list(memory.warnings(generation, survey, read=True))
    else:
        assert len(list(memory.warnings(generation, survey, read=True))) == 1
    assert list(memory.warnings(generation, survey, read=False)) == []
