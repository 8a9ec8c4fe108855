"""Which promises are broken, and who hears of it: once, and once that it is well again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_reindex_provider.core.alarms import Alarm, Ledger, Promises, Seen, broken, message
from airflow_reindex_provider.operators.watch import _forget

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
AGO = {minutes: NOW - timedelta(minutes=minutes) for minutes in (0, 1, 5, 20, 30, 60, 600)}
FRESH = Promises(fresh_within=timedelta(minutes=15), stuck_after=timedelta(minutes=10))
WELL = Seen(watched_since=AGO[600], completed_at=AGO[1], fresh_until=AGO[1])


def said(promises: Promises = FRESH, **seen: object) -> dict[str, str]:
    return {a.promise: f"{a.says} {a.remedy}" for a in broken("products", promises, replace(WELL, **seen), NOW)}  # type: ignore[arg-type]  # of its fields


def test_a_stream_that_keeps_its_promises_breaks_none() -> None:
    assert said() == {}
    assert said(running="r", running_since=AGO[5], progress_at=AGO[0]) == {}


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (
            {"held_by": "the idle transaction of user 'a'"},
            ["held back by the idle transaction", "End that transaction"],
        ),
        (
            {"failure": "no route to host", "failed_at": AGO[5]},
            ["its runs fail. no route to host", "airflow reindex check"],
        ),
        ({"running": "r1", "running_since": AGO[5]}, ["run r1 is under way"]),
        ({}, ["no run has ended since 2026-01-01T11:40:00+00:00", "does the scheduler run"]),
        ({"completed_at": None, "fresh_until": None}, ["no run has ended well yet"]),
    ],
)
def test_a_stream_that_is_behind_says_why(seen: dict[str, object], words: list[str]) -> None:
    """What holds it back comes first, and what to do about it."""
    found = said(**{"completed_at": AGO[20], "fresh_until": AGO[20], **seen})
    assert set(found) == {"behind"}
    assert all(word in found["behind"] for word in words)


def test_an_old_failure_is_none() -> None:
    """A run that has ended well since says that it is mended."""
    found = said(fresh_until=AGO[20], failure="no route", failed_at=AGO[5])
    assert "its runs fail" not in found["behind"]


def test_a_cursor_that_is_not_made_of_time_is_as_fresh_as_its_last_run() -> None:
    assert said(fresh_until=None) == {}
    assert set(said(fresh_until=None, completed_at=AGO[20])) == {"behind"}


def test_a_stuck_run_is_told_from_a_slow_one() -> None:
    """What shows progress is slow, however long it takes; what shows none is stuck, however short it has run."""
    promises = replace(FRESH, longest_run=timedelta(minutes=25))
    under_way = {"running": "r1", "running_since": AGO[30]}
    assert set(said(promises, **under_way, progress_at=AGO[1])) == {"slow"}
    assert set(said(promises, **under_way, progress_at=AGO[20])) == {"stuck"}
    assert set(said(promises, running="r1", running_since=AGO[20])) == {"stuck"}
    assert "cancel" in said(promises, **under_way, progress_at=None)["stuck"]


def test_the_other_promises() -> None:
    promises = Promises(
        most_parked=3, longest_wait=timedelta(minutes=10), swept_within=timedelta(minutes=30), fresh_within=None
    )
    seen = {"parked": 4, "waiting_since": AGO[20], "swept_at": AGO[60]}
    found = said(promises, **seen)
    assert set(found) == {"parked", "waiting", "unswept"}
    assert "4 documents are parked, 3 may be" in found["parked"]
    assert said(promises, parked=3, waiting_since=AGO[5], swept_at=AGO[20]) == {}
    assert "no sweep was complete yet" in said(promises, swept_at=None)["unswept"]


def test_a_paused_stream_breaks_nothing() -> None:
    assert said(paused=True, fresh_until=AGO[600], parked=10**6) == {}


# Who is told


def alarm(stream: str, says: str = "x") -> Alarm:
    return Alarm(stream, "behind", "2026", says, "mend it")


def test_forty_streams_that_break_at_once_are_one_message() -> None:
    """And those that break later are another one."""
    ledger = Ledger()
    alarms = [alarm(f"s{n}") for n in range(40)]
    ledger.open(alarms, watched=[a.stream for a in alarms])
    news, well = ledger.news(0)
    assert (len(news), well) == (40, [])
    said_ = message(news, well)
    assert said_["subject"] == "Reindex: 40 streams broken"
    assert said_["text"].count("\n") == 39
    ledger.told(0, news, well)
    ledger.open([*alarms, alarm("one more")], watched=[*(a.stream for a in alarms), "one more"])
    assert [a.stream for a in ledger.news(0)[0]] == ["one more"]


def test_a_stream_that_is_not_looked_at_stays_as_it_was_told() -> None:
    """One that is paused while it is broken is not well again by that."""
    ledger = Ledger()
    ledger.open([alarm("a")], watched=["a"])
    ledger.told(0, *ledger.news(0))
    ledger.open([], watched=[])
    assert ledger.news(0) == ([], [])
    ledger.open([], watched=["a"])
    assert [a.stream for a in ledger.news(0)[1]] == ["a"]


def test_a_stream_that_nobody_watches_any_more_is_forgotten() -> None:
    """A day later, so that a file that fails to parse today makes nobody hear anew of what they know."""
    ledger, since = Ledger(), {name: {"first": AGO[600].isoformat()} for name in "ab"}
    ledger.open([alarm("a"), alarm("b")], watched="ab")
    ledger.told(0, *ledger.news(0))
    for hours, known in ((0, "ab"), (20, "ab"), (25, "b")):
        _forget(since, ledger, {"b"}, NOW + timedelta(hours=hours))
        assert "".join(since) == known
        assert [entry["alarm"]["stream"] for entry in ledger.known.values()] == list(known)


@given(st.lists(st.tuples(st.sets(st.sampled_from("abc")), st.sets(st.integers(0, 1))), max_size=12))
def test_everybody_hears_of_each_change_once(story: list[tuple[set[str], set[int]]]) -> None:
    """Whatever breaks and is mended, and whichever notifiers fail when: nobody hears of one promise twice in a row, nor that it
    is well without having heard that it was broken; and all have heard how it stands once their notifier works."""
    ledger = Ledger()
    heard: dict[int, dict[str, bool]] = {0: {}, 1: {}}

    def look(names: set[str], works: set[int]) -> None:
        nonlocal ledger
        ledger = Ledger.from_json(ledger.to_json())
        ledger.open([alarm(name) for name in sorted(names)], watched="abc")
        for notifier in works:
            broken_, well = ledger.news(notifier)
            for one, is_broken in [*((a, True) for a in broken_), *((a, False) for a in well)]:
                assert heard[notifier].get(one.stream, False) is not is_broken
                heard[notifier][one.stream] = is_broken
            ledger.told(notifier, broken_, well)

    for names, works in story:
        look(names, works)
    last = story[-1][0] if story else set()
    look(last, {0, 1})
    for notifier in (0, 1):
        assert {name for name, is_broken in heard[notifier].items() if is_broken} == last
