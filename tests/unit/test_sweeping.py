"""Sweeps over parts in memory, among writers and runs that come in at every moment; with the classic mistakes planted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ConfigurationError, SourceIncompleteError, TooManyDeletesError
from airflow_reindex_provider.core.keys import KeyKind, KeyRange, Listed, in_order, placing
from airflow_reindex_provider.core.model import Chunk, Document, Format, Guarantee, Key, Position
from airflow_reindex_provider.core.planning import current_generation
from airflow_reindex_provider.core.sweeping import comparing, repairing
from airflow_reindex_provider.core.sweeping.allowing import allow, deletion_version, require_absent, respelled
from airflow_reindex_provider.core.sweeping.records import (
    Compare,
    Difference,
    RepairJob,
    SweepPlan,
    SweepRange,
    SweepReport,
    coalesced,
)
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.testing.memory import MemorySource, MemorySourceSession, MemoryTarget, MemoryTargetSession
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper

KEYS = st.sampled_from(["10", "9", "-1"])
EVENTS = st.tuples(st.sampled_from(["put", "put and run", "delete", "vanish", "run"]), KEYS)
MOMENTS = [f"{side} {asked}" for asked in ("scan", "survey", "look-up") for side in ("before", "after")]
STREAM = "stream"


class Interrupted(MemorySource):
    """A table to which something happens before and after what a repair asks of it."""

    happens: Callable[[str], None] = staticmethod(lambda moment: None)

    @contextmanager
    def open(self) -> Iterator[MemorySourceSession]:
        yield _InterruptedSession(self)


class _InterruptedSession(MemorySourceSession):
    def _between(self, what: str, ask: Callable[[], Any]) -> Any:
        self._source.happens(f"before {what}")  # type: ignore[attr-defined]
        answer = ask()
        self._source.happens(f"after {what}")  # type: ignore[attr-defined]
        return answer

    def survey(self) -> Any:
        return self._between("survey", super().survey)

    def keys(self, within: KeyRange, *, below: str) -> Any:
        ask = super().keys
        return self._between("scan", lambda: ask(within, below=below))

    def look_up(self, keys: Sequence[Key], *, below: str) -> Any:
        ask = super().look_up
        return self._between("look-up", lambda: ask(keys, below=below))


class World:
    """A stream whose index may hold anything, and what happens to it."""

    def __init__(self) -> None:
        self.source = Interrupted(columns={"id": "bigint", "state": "integer"}, now_us=1_000)
        self.target = MemoryTarget(chunk_rows=2)
        self.run = Runner(source=self.source, target=self.target, sizes=Sizes(batch_rows=2, max_batches=4))
        self.sweeper = Sweeper(run=self.run, max_delete_fraction=1.0)
        self.waiting: dict[str, list[tuple[str, str]]] = {}
        self.states = 0
        self.busy = False
        self.source.happens = self.happens  # type: ignore[method-assign]
        self.run.run()

    def event(self, what: str, key: str) -> None:
        self.source.now_us += 1
        self.states += 1
        if what == "put and run":
            self.event("put", key)
            self.event("run", key)
        elif what == "run":
            self.run.run()
        elif what == "vanish":
            self.source._committed.pop((key,), None)
        else:
            with self.source.transaction() as transaction:
                if what == "delete":
                    transaction.delete(key)
                else:
                    transaction.put({"id": key, "state": self.states})

    def happens(self, moment: str) -> None:
        if self.busy:
            return
        # What happens asks the source too.
        self.busy = True
        for what, key in self.waiting.pop(moment, ()):
            self.event(what, key)
        self.busy = False

    def spoil(self, key: str, how: str) -> None:
        """Behind the stream's back: documents that went missing, got old, or have no row."""
        with self.target.open(STREAM) as session:
            stored = session._index(current_generation(session) or "").stored
        held = stored.get((key,))
        if how == "lose":
            stored.pop((key,), None)
        elif how == "age" and held is not None and held.fields is not None:
            stored[key,] = Document((key,), held.version - 500, {"id": key, "state": -1})
        elif how == "invent" and (held is None or held.fields is None):
            stored[key,] = Document((key,), 500, {"id": key, "state": -2})

    def index(self) -> dict[Key, Any]:
        return {key: fields["state"] for key, fields in self.target.documents().items()}

    def table(self) -> dict[Key, Any]:
        return {key: row.values["state"] for key, row in self.source.rows().items() if not row.deleted}


def play(
    begin: list[tuple[str, str]],
    orphans: set[str],
    spoilt: list[tuple[str, str]],
    compared: dict[str, list[tuple[str, str]]],
    repaired: dict[str, list[tuple[str, str]]],
) -> None:
    """A sweep among events loses no row, and an undisturbed one makes both sides equal."""
    world = World()
    for what, key in begin:
        world.event(what, key)
    world.source.now_us += 1
    world.run.run()
    for key, how in [*((key, "invent") for key in orphans), *spoilt]:
        world.spoil(key, how)
    sweeper = world.sweeper
    world.waiting = {moment: list(events) for moment, events in compared.items()}
    sweep, ranges = sweeper.plan()
    reports = [(part, sweeper.compare(sweep, part)) for part in ranges]
    world.waiting = {moment: list(events) for moment, events in repaired.items()}
    for job in allow(sweep, reports):
        with suppress(TooManyDeletesError):
            sweeper.repair(sweep, job)
    world.waiting = {}
    world.source.now_us += 1
    world.run.run()
    if not spoilt:
        lost = {key: state for key, state in world.table().items() if world.index().get(key) != state}
        assert lost == {}, f"lost or stale after the sweep: {lost}"
    sweeper.sweep()
    assert world.index() == world.table()
    assert sweeper.sweep()[0].differences == 0


HAPPENING = st.dictionaries(st.sampled_from(MOMENTS), st.lists(EVENTS, max_size=3), max_size=2)
STORIES = {
    "begin": st.lists(EVENTS, max_size=6),
    "orphans": st.sets(KEYS),
    "spoilt": st.just([]) | st.lists(st.tuples(KEYS, st.sampled_from(["lose", "age"])), max_size=3),
    "compared": HAPPENING,
    "repaired": HAPPENING,
}
PLAIN = settings(
    report_multiple_bugs=False,
    deadline=None,
    database=None,
    max_examples=1_500,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(autouse=True, scope="module")
def small_pieces() -> Iterator[None]:
    """Every limit is met with a handful of keys."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in (
            (comparing, "LEAF_ROWS", 1),
            (comparing, "FAN_OUT", 2),
            (comparing, "TOLD_ROWS", 2),
            (repairing, "COLLECTED", 2),
            (repairing, "AT_ONCE", 1),
        ):
            patch.setattr(module, name, value)
        yield


def test_a_sweep_among_events_loses_nothing() -> None:
    """Whatever writers and runs do between its steps."""
    PLAIN(given(**STORIES)(play))()


@pytest.mark.parametrize(
    "mistake",
    ["no look-up", "horizon after the look-up", "soft-deleted rows are no rows"],
)
def test_planted_mistakes_are_caught(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above fails with each of these."""
    if mistake == "no look-up":
        monkeypatch.setattr(repairing, "require_absent", lambda orphans, found: list(orphans))
    elif mistake == "horizon after the look-up":
        monkeypatch.setattr(repairing.Repair, "_delete", _horizon_last)
    else:
        monkeypatch.setattr(comparing.Comparison, "_judge", _blind)
    # Caught is caught: the smallest story that shows it is for people.
    with pytest.raises(AssertionError):
        settings(PLAIN, phases=[Phase.generate])(given(**STORIES)(play))()


def _horizon_last(self: repairing.Repair, orphans: tuple[Key, ...]) -> repairing.RepairResult:
    source = self.comparison.source
    absent = require_absent(orphans, source.look_up(orphans, below=self.plan.bound))
    version = deletion_version(self.plan, source.survey().horizon.cursor)
    with self.comparison.target.writer(self.plan.generation, self.comparison.schema, Format.ROWS) as writer:
        writer.write(Chunk(Position(self.plan.bound), Format.ROWS, [Document(key, version, None) for key in absent]))
    return repairing.RepairResult()


_judge = comparing.Comparison._judge


def _blind(self: comparing.Comparison, row: Listed | None, document: Listed | None) -> Difference | None:
    return None if row is not None and row.gone else _judge(self, row, document)


# -- rules


def plan(**changes: Any) -> SweepPlan:
    return SweepPlan(
        **{"stream": STREAM, "generation": "g", "bound": "100", "cursor_type": CursorType.INTEGER, **changes}
    )


def found(indexed: int, orphaned: int, missing: int = 0) -> SweepReport:
    counts = {Difference.ORPHANED: orphaned, Difference.MISSING: missing}
    return SweepReport(
        indexed,
        0,
        {d: n for d, n in counts.items() if n},
        {Difference.ORPHANED: (("7",),)} if orphaned else {},
        (KeyRange(),) if orphaned or missing else (),
    )


def test_numbers_are_ordered_as_numbers_and_texts_by_their_bytes() -> None:
    """As in Postgres and in Python, and whatever a locale says."""
    number = placing([KeyKind.NUMBER])
    assert sorted([("10",), ("9",), ("-1",)], key=number) == [("-1",), ("9",), ("10",)]
    text = placing([KeyKind.TEXT, KeyKind.NUMBER])
    assert sorted([("é", "1"), ("z", "10"), ("z", "9"), ("Z", "1")], key=text) == [
        ("Z", "1"),
        ("z", "9"),
        ("z", "10"),
        ("é", "1"),
    ]


@pytest.mark.parametrize("keys", [["1", "1"], ["2", "1"]])
def test_a_listing_out_of_order_is_an_error(keys: list[str]) -> None:
    """To go on would take what is there for missing."""
    with pytest.raises(ConfigurationError, match="in order"):
        list(in_order([[Listed((k,), 1, False)] for k in keys], placing([KeyKind.NUMBER]), "The source"))


def test_the_cap_is_about_all_ranges_together() -> None:
    """One range may lose all it has, as long as the whole keeps the limit; what the cap leaves is shared."""
    part = SweepRange(0, 2, KeyRange(), 10)
    jobs = allow(plan(), [(part, found(10, 10)), (part, found(990, 0, missing=3)), (part, found(200, 0))])
    assert [(job.repairs, job.may_delete) for job in jobs] == [(10, 35), (3, 25)]
    with pytest.raises(TooManyDeletesError, match=r"51 of 1,000 documents.*max_delete_fraction=0.05.*\(50\).*First.*7"):
        allow(plan(), [(part, found(1000, 51))])
    assert allow(plan(max_delete_fraction=0.0), [(part, found(1000, 0, 5))])[0].may_delete == 0


def test_a_key_that_is_found_below_the_bound_proves_the_scan_incomplete() -> None:
    """One at or above it has come since, and is spared."""
    orphans = [("1",), ("2",)]
    assert require_absent(orphans, {("1",): Listed(("1",), None, False)}) == [("2",)]
    with pytest.raises(SourceIncompleteError, match="'1'"):
        require_absent(orphans, {("1",): Listed(("1",), 5, False)})


def test_an_orphan_may_be_an_old_text_of_a_rows_key() -> None:
    """The row is there, so nobody says it is absent; but where it is gone, or has changed since, there is nothing to write."""
    old, new = ("1.0",), ("1.00",)
    for version, gone, absent, moved in ((5, False, [], {old: new}), (5, True, [old], {}), (None, False, [], {})):
        found = {old: Listed(new, version, gone)}
        assert (require_absent([old], found), respelled([old], found)) == (absent, moved)


def test_a_deletion_lies_between_what_is_there_and_what_can_come() -> None:
    """Also where the greatest cursor value has been deleted, so that the horizon has gone back."""
    assert deletion_version(plan(), "120") == 119
    assert deletion_version(plan(), "80") == 99
    assert deletion_version(plan(), None) == 99


def test_differing_parts_stay_few() -> None:
    """Neighbours are joined, and a hundred parts become at most 32 that hold them all."""
    parts = [KeyRange((str(n),), (str(n + 1),)) for n in range(0, 200, 2)]
    joined = coalesced(parts)
    assert len(joined) <= 32
    assert (joined[0].start, joined[-1].end) == (("0",), ("199",))
    assert coalesced([KeyRange(None, ("5",)), KeyRange(("5",), None)]) == (KeyRange(),)
    assert coalesced([]) == ()


def test_what_travels_between_tasks_survives_json() -> None:
    """Plan, range, report and job."""
    part = SweepRange(1, 2, KeyRange(("a", "1"), None), 10)
    report = found(10, 1)
    job = RepairJob(part, (part.keys,), 3, 1)
    assert SweepPlan.from_json(plan().to_json()) == plan()
    assert SweepRange.from_json(part.to_json()) == part
    assert SweepReport.from_json(report.to_json()) == report
    assert RepairJob.from_json(job.to_json()) == job


def test_what_cannot_be_swept_is_said() -> None:
    """No checkpoint yet, a fraction that is none, a target without versions."""
    source = MemorySource(columns={"id": "bigint", "state": "integer"}, now_us=1_000)
    run = Runner(source=source, target=MemoryTarget())
    with pytest.raises(ConfigurationError, match="no checkpoint yet"):
        Sweeper(run=run).plan()
    run.run()
    with pytest.raises(ConfigurationError, match="max_delete_fraction"):
        Sweeper(run=run, max_delete_fraction=5).plan()
    run.target.guarantee = Guarantee.LAST_WRITE_WINS  # type: ignore[misc]
    with pytest.raises(ConfigurationError, match="only a dry run"):
        Sweeper(run=run).plan()


def test_content_is_compared_by_the_target() -> None:
    """Of two sides that compute no checksums over content every row is read, and its document compared at its version."""
    world = World()
    with world.source.transaction() as writing:
        for number in range(1_200):
            writing.put({"id": number, "state": 0})
    world.source.now_us += 1_000
    world.run.run()
    (index,) = world.target._indexes.values()
    for key in (("3",), ("700",)):
        index.stored[key] = Document(key, index.stored[key].version, {**(index.stored[key].fields or {}), "state": 7})
    plain, content = world.sweeper, Sweeper(run=world.run, what=Compare.CONTENT)

    assert plain.sweep()[0].differences == 0
    found, done = content.sweep()

    assert (found.counts, found.listed) == ({Difference.CHANGED: 2}, 1_200)
    assert found.examples == {Difference.CHANGED: (("3",), ("700",))}
    assert done.counts.updated == 2
    assert content.sweep()[0].differences == 0


def test_a_target_that_cannot_compare_content_says_so() -> None:
    """Before anything is compared; keys and versions it can."""

    class Lister(MemoryTargetSession):
        differing = None  # type: ignore[assignment]

    class Target(MemoryTarget):
        @contextmanager
        def open(self, stream: str) -> Iterator[MemoryTargetSession]:
            yield Lister(self, stream)

    world = World()
    world.run.target = world.target = Target(chunk_rows=2)
    with world.source.transaction() as writing:
        writing.put({"id": 1, "state": 0})
    world.source.now_us += 1_000
    world.run.run()
    assert Sweeper(run=world.run).sweep()[0].differences == 0
    with pytest.raises(ConfigurationError, match="compares versions only"):
        Sweeper(run=world.run, what=Compare.CONTENT).sweep()
