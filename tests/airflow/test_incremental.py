"""Runs that go on from the checkpoint."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from streams_under_test import until

from airflow_reindex_provider.testing.airflow import Airflow
from airflow_reindex_provider.testing.postgres import Database


@pytest.mark.overlaps
def test_a_late_transaction(stream, late: Database):
    """Rows of a transaction that was open during a run come with the run after its commit; windows meet without a gap;
    a run without changes moves the checkpoint and skips the index task."""
    items = stream("late", source=late)
    items.insert(range(1, 6))
    first = items.run()
    assert (first.sums["created"], first.window[0]) == (5, None)

    with late.connect() as writer, writer.transaction():
        writer.execute("INSERT INTO late VALUES (100, 'late', now())")
        items.insert([6])
        second = items.run()
        assert 100 not in items.index
        assert 6 not in items.index, "a row stamped after the open transaction began is past the horizon as well"
    third = items.run()

    assert items.index == items.table
    assert [run.sums["processed"] for run in (second, third)] == [0, 2]
    assert second.states["index", -1] == "skipped"

    fourth = items.run()
    assert fourth.states == {("extract", -1): "success", ("index", -1): "skipped", ("checkpoint", -1): "success"}
    assert fourth.sums["processed"] == 0
    assert fourth.sums["checkpoint_before"] != fourth.sums["checkpoint_after"]
    assert items.checkpoint["cursor"] == fourth.window[1]
    runs = [first, second, third, fourth]
    assert [run.window[0] for run in runs[1:]] == [run.window[1] for run in runs[:-1]]


@pytest.mark.overlaps
@pytest.mark.parametrize("name", ["hourly", "delta"])
def test_a_schedule_gives_data_intervals(stream, airflow: Airflow, name: str):
    """A cron string and a timedelta become timetables with data intervals; a scheduled run is incremental all the same,
    and reads from the first row on if nothing is indexed yet."""
    items = stream(name)
    items.insert([1, 2], updated_at="now() - interval '30 days'")
    airflow.wait_for_dag(items.dag_id)
    airflow.pause(items.dag_id, False)

    run = until(lambda: items.runs("scheduled"), "the scheduled run")[0].end()

    start, end = (datetime.fromisoformat(run.shown[f"data_interval_{edge}"]) for edge in ("start", "end"))
    assert end - start == timedelta(hours=1)
    assert (run.sums["mode"], run.sums["created"], run.window[0]) == ("incremental", 2, None)
    assert items.index == items.table


@pytest.mark.overlaps
def test_batches_are_named_and_limited(stream, airflow: Airflow):
    """A ReindexDag has no schedule of its own; its mapped task instances carry their batches' names, and no more of them
    run at once than `max_active_batches`."""
    items = stream("narrow")
    items.insert(range(60), title="slow", updated_at="timestamptz '2026-03-01 00:00:00+00' + id * interval '1 s'")
    items.pull_brake(0.1)
    run = items.run()

    shown = airflow.rest.get(f"/dags/{items.dag_id}/details")
    assert shown["timetable_summary"] is None
    assert {"window_start", "window_end", "dry_run"} <= set(shown["params"])
    assert "reindex" in {tag["name"] for tag in shown["tags"]}
    batches = sorted((t for t in run.tasks if t["task_id"] == "index"), key=lambda t: t["map_index"])
    begins = ["the first", *(f"2026-03-01 00:00:{n}0" for n in range(1, 6))]
    for number, (batch, begin) in enumerate(zip(batches, begins, strict=True), 1):
        assert batch["rendered_map_index"].startswith(f"{number}/6: 10 rows from {begin}")
    moments = [(t["start_date"], 1) for t in batches] + [(t["end_date"], -1) for t in batches]
    at_once = most = 0
    for _, change in sorted(moments):
        at_once += change
        most = max(most, at_once)
    assert most == 2
    assert items.index == items.table


@pytest.mark.overlaps
def test_a_checkpoint_in_the_assets_state(stream, airflow: Airflow):
    """With AssetCheckpoint a run goes on where the one before it ended, and REST shows the cursor beside the asset."""
    items = stream("in_asset")
    items.insert([1, 2])
    first = items.run()
    items.insert([3])
    second = items.run()

    assert items.index == items.table
    assert second.window[0] == first.window[1]
    assert [run.sums["created"] for run in (first, second)] == [2, 1]
    (asset,) = airflow.rest.get("/assets", name_pattern="tests.in_asset")["assets"]
    stored = airflow.rest.get(f"/assets/{asset['id']}/state-store/{items.checkpoint_key}")["value"]
    stored = json.loads(stored) if isinstance(stored, str) else stored
    assert stored["cursor"] == second.window[1]
    assert items.checkpoint_text is None


@pytest.mark.overlaps
def test_a_poking_sensor_waits_for_changes(stream):
    """Outside the triggerer too the sensor holds a run back until there is a row; then the task group behind it runs."""
    items = stream("poked", group="reindex.")
    run = items.start()
    looks = "Stream 'poked': no changes below the horizon"
    until(lambda: run.airflow.log_of(run.dag_id, run.run_id, "changes").count(looks) > 1, "the sensor to look twice")
    assert run.states["changes", -1] == "running"

    items.insert([1])
    run.end()

    assert items.index == items.table == {1: "some"}
    assert run.sums["created"] == 1


def test_progress_moves(stream):
    """What REST shows of a running task moves at least every two seconds while chunks are written, never goes backwards,
    and ends as completed with all rows processed."""
    items = stream("paced")
    items.insert(range(400), title="slow")
    items.pull_brake(0.02)
    run = items.start()
    records = []
    while not records or records[-1]["status"] == "running":
        record = run.progress()
        if record and record not in records:
            records.append(record)
        time.sleep(0.1)
    run.end()

    assert len(records) > 4
    assert {record["status"] for record in records[:-1]} == {"running"}
    last = records[-1]
    assert (last["status"], last["processed"], last["total"], last["created"]) == ("completed", 400, 400, 400)
    processed = [record["processed"] for record in records]
    assert processed == sorted(processed)
    times = [datetime.fromisoformat(record["updated_at"]) for record in records]
    # Half a second for a machine that is busy with something else.
    assert max(after - before for before, after in pairwise(times)) < timedelta(seconds=2.5)
    under_way = [record for record in records if 0 < record["processed"] < 400]
    assert under_way
    assert all(record["eta_ms"] > 0 and record["docs_per_s"] > 0 for record in under_way)
