"""Runs that stand for a given window, and leave the checkpoint alone."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from streams_under_test import until

pytestmark = pytest.mark.overlaps

MARCH = "timestamptz '2026-03-01 00:00:00+00'"


def test_seven_days(stream):
    """`airflow backfill create` over seven days makes seven runs; each indexes exactly the rows of its day, midnight
    belonging to the day that begins; the checkpoint does not change by a byte."""
    items = stream("week")
    # Day n (from 1 on) has n + 2 rows: one at midnight, one in its last microsecond, n at noon. Day 8 is not asked for.
    for day in range(1, 9):
        begin = f"{MARCH} + interval '{day - 1} days'"
        items.insert([day * 100], updated_at=begin)
        items.insert([day * 100 + 99], updated_at=f"{begin} + interval '1 day' - interval '1 microsecond'")
        items.insert(range(day * 100 + 1, day * 100 + 1 + day), updated_at=f"{begin} + interval '12 hours'")
    items.run()
    checkpoint = items.checkpoint_text
    items.at_target("TRUNCATE {}")

    items.backfill("2026-03-01", "2026-03-07")
    runs = until(lambda: len(found := items.runs("backfill")) == 7 and found, "seven runs")
    for run in runs:
        run.end()

    days = [datetime(2026, 3, day, tzinfo=UTC) for day in range(1, 9)]
    assert [run.interval for run in runs] == list(pairwise(days))
    assert [run.sums["created"] for run in runs] == [day + 2 for day in range(1, 8)]
    assert [run.sums["processed"] for run in runs] == [day + 2 for day in range(1, 8)]
    assert {run.sums["mode"] for run in runs} == {"backfill"}
    assert items.index == {key: title for key, title in items.table.items() if key < 800}
    assert items.checkpoint_text == checkpoint


def test_a_live_run_overtakes_a_backfill(stream):
    """A backfill that has read a row before it changed, and writes it after a live run has written the change, does not
    bring the old state back."""
    items = stream("race")
    items.insert([1, 3], updated_at=f"{MARCH} + interval '1 hour'")
    items.insert([2], title="held", updated_at=f"{MARCH} + interval '1 hour'")
    items.run()
    items.pull_brake()
    items.backfill("2026-03-01", "2026-03-01")
    items.wait_until_held()
    items.retitle([2], "new")
    live = items.run()
    items.release_brake()
    (backfill,) = items.runs("backfill")
    backfill.end()

    assert items.index == items.table == {1: "some", 2: "new", 3: "some"}
    assert (live.sums["updated"], backfill.sums["updated"], backfill.sums["version_conflicts"]) == (1, 2, 1)
    assert items.checkpoint["cursor"] == live.window[1]


def test_a_plain_cron_string_cannot_be_backfilled(stream):
    """A timetable without data intervals fails at the first try, and the error names one that has them."""
    items = stream("plain_cron", group="reindex.")
    items.insert([1], updated_at=MARCH)
    items.backfill("2026-03-01", "2026-03-01")
    run = until(lambda: items.runs("backfill"), "the run")[0].end("failed")

    assert run.task("extract")["try_number"] == 1
    assert 'schedule=CronDataIntervalTimetable("@daily", timezone="UTC")' in run.log("extract")
    assert items.generations == []


def test_windows_of_the_trigger_form(stream):
    """A dry run counts and writes nothing, no generation either; a window indexes its rows, and no checkpoint is made; one
    that is reversed, empty, in the future or no time at all fails at once and says why."""
    items = stream("windows")
    items.insert(range(1, 10), updated_at=f"{MARCH} + (id - 1) * interval '1 day'")
    wrong = {
        "is reversed": items.start(window_start="2026-03-05T00:00:00Z", window_end="2026-03-02T00:00:00Z"),
        "is empty": items.start(window_start="2026-03-05T00:00:00Z", window_end="2026-03-05T01:00:00+01:00"),
        "is in the future": items.start(window_start="2099-01-01T00:00:00Z"),
        "needs a start": items.start(window_end="2026-03-05T00:00:00Z"),
        "'yesterday' cannot bound a window over a timestamptz cursor": items.start(window_start="yesterday"),
    }
    dry = items.run(window_start="2026-03-02T00:00:00Z", window_end="2026-03-05T00:00:00Z", dry_run=True)
    assert (dry.sums["rows"], dry.sums["batches"], dry.sums["dry_run"]) == (3, 1, True)
    for message, run in wrong.items():
        run.end("failed")
        assert message in run.log("extract")
        assert run.task("extract")["try_number"] == 1
    assert items.generations == []

    # Days in Berlin: both bounds lie one hour before midnight UTC.
    run = items.run(window_start="2026-03-03T00:00:00+01:00", window_end="2026-03-06T00:00:00+01:00")

    assert run.interval == (datetime(2026, 3, 2, 23, tzinfo=UTC), datetime(2026, 3, 5, 23, tzinfo=UTC))
    assert sorted(items.index) == [3, 4, 5]
    assert items.checkpoint_text is None
    open_end = items.run(window_start="2026-03-08T00:00:00Z")
    assert sorted(items.index) == [3, 4, 5, 8, 9]
    assert open_end.sums["horizon"] == open_end.window[1]


def test_a_window_within_a_backfill_is_an_error(stream):
    """Every run of it would index the same rows again, and none its own: it fails at the first try and says so."""
    items = stream("given_twice")
    items.insert([1], updated_at=MARCH)
    conf = '{"window_start": "2026-03-01T00:00:00Z"}'
    items.backfill("2026-03-01", "2026-03-01", "--dag-run-conf", conf)
    run = until(lambda: items.runs("backfill"), "the run")[0].end("failed")

    assert run.task("extract")["try_number"] == 1
    assert "each stands for its interval" in run.log("extract")
    assert items.generations == []
