"""A rebuild, its verification, a rollback and the retention, on the parts in memory."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_reindex_provider.core.errors import ConfigurationError, GenerationGoneError, VerificationError
from airflow_reindex_provider.core.model import Checkpoint, Document
from airflow_reindex_provider.core.running.throttle import Throttle
from airflow_reindex_provider.testing.memory import MemorySource, MemoryTarget
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.runs import Runner

SECOND, THIRD, FOURTH = (f"20270101t00000{n}" for n in (2, 3, 4))


@pytest.fixture
def shop() -> Rebuilder:
    """Twenty rows, loaded into the first generation, which is live."""
    source = MemorySource(columns={"id": "text", "title": "text"}, now_us=1000)
    made = Rebuilder(run=Runner(source=source, target=MemoryTarget(chunk_rows=3), chunk_rows=3))
    put(made, range(20), "first")
    made.run.run()
    return made


def put(shop: Rebuilder, numbers: Any, title: str) -> None:
    source = shop.run.source
    assert isinstance(source, MemorySource)
    source.now_us += 10
    with source.transaction() as transaction:
        for number in numbers:
            transaction.put({"id": f"{number:02}", "title": title})
    source.now_us += 10


def target_of(shop: Rebuilder) -> MemoryTarget:
    assert isinstance(shop.run.target, MemoryTarget)
    return shop.run.target


def titles(shop: Rebuilder, generation: str | None = None) -> dict[str, Any]:
    return {key[0]: d["title"] for key, d in target_of(shop).documents(generation).items()}


def names(shop: Rebuilder) -> list[str]:
    with target_of(shop).open(shop.run.stream) as session:
        return [g.name for g in session.generations()]


def live(shop: Rebuilder) -> str:
    with target_of(shop).open(shop.run.stream) as session:
        return next(g.name for g in session.generations() if g.live)


def test_what_is_written_meanwhile_is_in_the_new_index(shop: Rebuilder) -> None:
    """Rows that change after the plan, after the copy and after the verification are there at the swap; until then the
    old index serves."""
    plan = shop.begin(SECOND)
    put(shop, [3, 20], "during the copy")
    shop.copy(plan)
    put(shop, [4, 21], "before the check")
    shop.catch_up(plan.generation)
    shop.verify(plan.generation)
    assert set(titles(shop).values()) == {"first"}
    put(shop, [5, 22], "while a person thinks")
    shop.promote(plan.generation)
    shown = titles(shop)
    assert (live(shop), len(shown)) == (plan.generation, 23)
    assert [shown[key] for key in ("03", "21", "05")] == [
        "during the copy",
        "before the check",
        "while a person thinks",
    ]
    put(shop, [6], "afterwards")
    assert shop.run.run().plan.rows == 1
    assert titles(shop)["06"] == "afterwards"


def test_a_row_that_never_rests_is_not_lost(shop: Rebuilder) -> None:
    """It lies above the horizon whenever it is read, so no window has it; the live document is carried over as it is, and
    the next run brings its state by then. What the new index has is not written over, and what is gone stays gone."""
    source = shop.run.source
    assert isinstance(source, MemorySource)
    put(shop, [18], "second")
    shop.run.run()
    with source.transaction() as transaction:
        transaction.delete("17")
    plan = shop.begin(SECOND)
    put(shop, [3, 18, 21], "moving")
    late = source.begin()
    put(shop, [3, 18, 21], "moving still")
    shop.copy(plan)
    shop.catch_up(plan.generation)
    assert {"03", "18"}.isdisjoint(titles(shop, plan.generation))
    assert shop.swap(plan.generation) == 2
    shown = titles(shop)
    assert (shown["03"], shown["18"], len(shown)) == ("first", "second", 19)
    late.rollback()
    shop.run.run()
    assert [titles(shop)[key] for key in ("03", "18", "21")] == ["moving still"] * 3


def test_every_step_done_again_changes_nothing(shop: Rebuilder) -> None:
    """A retry of any step, the swap included, ends in the same state."""
    for _ in range(2):
        plan = shop.begin(SECOND)
    for step in (shop.copy, shop.copy):
        step(plan)
    for _ in range(2):
        shop.promote(plan.generation)
        shop.retire()
    shop.copy(shop.begin(SECOND))
    assert (live(shop), len(names(shop)), len(titles(shop))) == (plan.generation, 2, 20)


def test_a_dead_rebuild_is_cleared_away(shop: Rebuilder, caplog: pytest.LogCaptureFixture) -> None:
    """The next run drops what was never served, by name, with its checkpoint; what was served stays."""
    dead = shop.begin(SECOND)
    shop.copy(dead)
    first = live(shop)
    shop.rebuild(THIRD)
    assert names(shop) == [first, f"index_{THIRD}"]
    assert shop.run.store.load(shop.run.stream, dead.generation).version == 0
    assert f"Dropping generation {dead.generation}" in caplog.text


def test_a_name_that_comes_again_begins_anew(shop: Rebuilder) -> None:
    """A run that is cleared after its generation was dropped, and died before the checkpoint was forgotten, copies all."""
    plan = shop.begin(SECOND)
    shop.copy(plan)
    with target_of(shop).open(shop.run.stream) as session:
        session.drop(plan.generation)
    assert shop.run.store.load(shop.run.stream, plan.generation).position is not None
    assert shop.begin(SECOND).rows == 20


def test_rollback_catches_up_first(shop: Rebuilder) -> None:
    """What the old generation has missed is in it when it is served again; then it can be rolled forward by name."""
    first = live(shop)
    second = shop.rebuild(SECOND)
    put(shop, [1, 30], "since the swap")
    shop.run.run()
    assert shop.rollback() == first
    assert live(shop) == first
    assert (titles(shop)["01"], titles(shop)["30"]) == ("since the swap", "since the swap")
    with pytest.raises(ConfigurationError, match=f"besides the live generation {first} it has {second}"):
        shop.rollback()
    assert shop.rollback(second) == live(shop) == second


def test_retention_never_takes_the_live_one(shop: Rebuilder) -> None:
    """The newest others stay, as many as retain says; dropping the live one is refused by the target itself."""
    first = live(shop)
    second = shop.rebuild(SECOND)
    shop.rebuild(THIRD)
    assert names(shop) == [second, f"index_{THIRD}"]
    assert first not in names(shop)
    shop.rollback()
    shop.retain = 0
    assert shop.retire() == (f"index_{THIRD}",)
    assert names(shop) == [live(shop)] == [second]
    with (
        target_of(shop).open(shop.run.stream) as session,
        pytest.raises(ConfigurationError, match="live one"),
    ):
        session.drop(second)


def test_a_run_in_flight_is_harmless(shop: Rebuilder) -> None:
    """Its generation may be dropped under it: it says so, saves nothing, and the next run brings what it had."""
    first = live(shop)
    put(shop, [1, 2], "on its way")
    planned = shop.run.plan()
    results = [shop.run.index(batch) for batch in planned.batches]
    shop.retain = 0
    put(shop, [3], "since")
    shop.rebuild(SECOND)
    with pytest.raises(GenerationGoneError, match=first):
        shop.run.index(planned.batches[0])
    with pytest.raises(GenerationGoneError, match="no checkpoint is saved"):
        shop.run.settle(planned, results)
    assert shop.run.store.load(shop.run.stream, first).version == 0
    put(shop, [4], "since")
    shop.run.run()
    assert [titles(shop)[key] for key in ("01", "02", "03", "04")] == ["on its way"] * 2 + ["since"] * 2


def test_a_generation_that_is_dropped_while_its_run_is_closed(shop: Rebuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its checkpoint is gone with it, which looks as if a person had reset it; the run tells the two apart."""
    put(shop, [1], "on its way")
    planned = shop.run.plan()
    results = [shop.run.index(batch) for batch in planned.batches]
    shop.retain = 0
    load = shop.run.store.load

    def load_later(stream: str, generation: str) -> Checkpoint:
        monkeypatch.setattr(shop.run.store, "load", load)
        shop.rebuild(SECOND)
        return load(stream, generation)

    monkeypatch.setattr(shop.run.store, "load", load_later)
    with pytest.raises(GenerationGoneError, match="no checkpoint is saved"):
        shop.run.settle(planned, results)


@pytest.mark.parametrize("wait", [0, 5])
def test_a_generation_that_is_dropped_while_its_run_has_nothing_to_do(shop: Rebuilder, wait: int) -> None:
    """Such a run does not ask its target, and says so all the same, whether time has passed at the source or not."""
    shop.run.run()
    first = live(shop)
    source = shop.run.source
    assert isinstance(source, MemorySource)
    source.now_us += wait
    planned = shop.run.plan()
    assert not planned.batches
    assert (planned.window is None) == (not wait)
    shop.retain = 0
    shop.rebuild(SECOND)
    with pytest.raises(GenerationGoneError, match="no checkpoint is saved"):
        shop.run.settle(planned, [])
    assert shop.run.store.load(shop.run.stream, first).version == 0


def test_nothing_is_live_yet() -> None:
    """Without a first load there is nothing to rebuild, and nothing is made."""
    shop = Rebuilder(run=Runner(source=MemorySource(now_us=100), target=MemoryTarget()))
    with pytest.raises(ConfigurationError, match="let the first run of its ReindexDag"):
        shop.begin(SECOND)
    assert names(shop) == []


def test_a_generation_without_a_checkpoint_is_not_promoted(shop: Rebuilder) -> None:
    """Nobody knows what it holds."""
    plan = shop.begin(SECOND)
    with pytest.raises(ConfigurationError, match="no checkpoint"):
        shop.swap(plan.generation)


def ready(shop: Rebuilder) -> str:
    plan = shop.begin(SECOND)
    shop.copy(plan)
    return plan.generation


def test_verification_counts_and_samples(shop: Rebuilder) -> None:
    """Its numbers, of an index that is as it should be; rows that move meanwhile do not matter."""
    generation = ready(shop)
    put(shop, range(5), "moved on")
    checked = shop.verify(generation)
    assert (checked.documents, checked.live_documents, checked.rows, checked.orphaned) == (20, 20, 20, 0)
    assert checked.sampled == 14


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        pytest.param(lambda held: held.pop(("07",)), "1 are missing .* 0 are stale .* 07 \\(missing\\)", id="missing"),
        pytest.param(
            lambda held: held.update({("07",): Document(("07",), 5, held["07",].fields)}), "1 are stale", id="stale"
        ),
        pytest.param(
            lambda held: held.update({("07",): Document(("07",), held["07",].version, {"id": "07", "title": "x"})}),
            "1 documents drawn .* 07 \\(field 'title'\\)",
            id="values",
        ),
        pytest.param(
            lambda held: [held.pop(key) for key in list(held)[:11]],
            "9 documents, less than min_size_ratio=0.5",
            id="small",
        ),
    ],
)
def test_a_failed_verification_names_the_numbers(shop: Rebuilder, harm: Any, message: str) -> None:
    """And the live generation serves on."""
    generation, before = ready(shop), live(shop)
    harm(target_of(shop)._indexes[generation].stored)
    with pytest.raises(VerificationError, match=message):
        shop.verify(generation)
    assert live(shop) == before


def test_parked_documents_may_be_missing(shop: Rebuilder) -> None:
    """A bad document does not hold up a rebuild: it is parked with the new generation's checkpoint, and tried again."""
    target_of(shop).refuse = lambda d: "bad" if d.key == ("07",) else None
    generation = ready(shop)
    assert shop.verify(generation).parked == 1
    shop.promote(generation)
    assert [p.key for p in shop.run.store.load(shop.run.stream, generation).parked] == [("07",)]
    assert len(titles(shop)) == 19


def test_windows_follow_until_the_lag_is_small(shop: Rebuilder) -> None:
    """Catching up goes on while a window takes longer than max_lag and there are rows in it."""
    generation = ready(shop)
    shop.max_lag = timedelta(0)
    put(shop, [1], "one")
    caught = shop.catch_up(generation)
    assert (caught.rounds, caught.counts.processed) == (2, 1)
    shop.max_lag = timedelta(minutes=1)
    put(shop, [1], "two")
    assert shop.catch_up(generation).rounds == 1


def test_a_throttle_keeps_its_rate() -> None:
    """Over any stretch no more is written than the rate and a second's worth; a stop ends the wait."""
    now = [0.0]
    throttle = Throttle(100, clock=lambda: now[0], sleep=lambda s: now.__setitem__(0, now[0] + s))
    for _ in range(30):
        throttle(50)
    assert now[0] == pytest.approx((1500 - 100) / 100)
    stopped = Throttle(1, should_stop=lambda: True, clock=lambda: 0.0, sleep=lambda s: pytest.fail("waited"))
    stopped(1000)
