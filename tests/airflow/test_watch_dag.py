"""WatchDag on a real Airflow: the right messages, once each, and the all-clear."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from streams_under_test import TIMEOUT_S, Run, StreamUnderTest

from airflow_reindex_provider.testing.airflow import Airflow
from airflow_reindex_provider.testing.postgres import EmbeddedPostgres

pytestmark = pytest.mark.overlaps


def watch(items: StreamUnderTest) -> Run:
    run_id = items.airflow.trigger("watch_four")
    items.airflow.wait_for_run("watch_four", run_id, timeout_s=TIMEOUT_S)
    return Run(items.airflow, "watch_four", run_id)


def test_four_streams_are_watched(stream, stalled, brakes: Path, airflow: Airflow, postgres: EmbeddedPostgres):
    """One is held back by an open transaction, another's target is down, a third is paused, a fourth parks documents: each is
    told once, with what is wrong and what to do, the paused one never; and that each is well again, once too."""
    held, parks = stream("held_back", source=stalled), stream("parks")
    rests, down = stream("rests"), stream("of_nothing")
    diary = brakes / "diary"

    def told() -> list[dict[str, Any]]:
        return [json.loads(line) for line in diary.read_text().splitlines()] if diary.exists() else []

    # The one that promises to be fresh comes last, and is looked at at once.
    for items in (rests, parks, held):
        items.insert(range(3), updated_at="now() - interval '1 hour'")
        items.run()
        if items is rests:
            rests.airflow.pause("reindex_rests")
    watch(held)
    assert told() == []

    began = time.monotonic()
    with stalled.connect() as late:
        late.execute("BEGIN")
        late.execute("INSERT INTO held_back VALUES (99, 'late', now())")
        parks.at_source("INSERT INTO {} VALUES (7, 'bad', now()), (8, 'bad', now()), (9, 'wordy', now())")
        parks.run()
        down.start().end(expect="failed")
        # What was promised is two minutes.
        time.sleep(max(0.0, 125 - (time.monotonic() - began)))
        held.run()
        for _ in range(3):
            watch(held)
        (first,) = told()
        late.execute("COMMIT")

    alarms = {alarm["stream"]: alarm for alarm in first["reindex"]["broken"]}
    assert set(alarms) == {"held_back", "of_nothing", "parks"}
    assert first["text"] == "Reindex: 3 streams broken"
    assert "held back by the idle in transaction transaction of user" in alarms["held_back"]["says"]
    assert "its runs fail" in alarms["of_nothing"]["says"]
    assert "nowhere_db" in alarms["of_nothing"]["says"]
    assert "3 documents are parked, 1 may be" in alarms["parks"]["says"]
    assert all(alarm["remedy"] and alarm["since"] for alarm in alarms.values())

    parks.at_source("UPDATE {} SET title = 'good', updated_at = now() WHERE title IN ('bad', 'wordy')")
    parks.run(action="parked-retry")
    parks.run()
    there = {
        "conn_type": "postgres",
        "login": "postgres",
        "schema": "search",
        "host": str(postgres.socket_dir),
        "port": 5432,
    }
    airflow.rest.post("/connections", {"connection_id": "nowhere_db", **there})
    airflow.pause("reindex_rests", False)
    for items in (down, rests, held):
        items.run()
    for _ in range(2):
        watch(held)

    well = [alarm["stream"] for entry in told()[1:] for alarm in entry["reindex"]["well"]]
    assert sorted(well) == ["held_back", "of_nothing", "parks"]
    assert [alarm for entry in told()[1:] for alarm in entry["reindex"]["broken"]] == []
    events = held.airflow.rest.get("/assets/events", source_dag_id="watch_four", limit=50)["asset_events"]
    found = sorted((event["extra"]["event"], event["extra"]["stream"]) for event in events)
    broken = [("watch.broken", name) for name in ("held_back", "of_nothing", "parks")]
    assert found == [*broken, *(("watch.well", name) for name in ("held_back", "of_nothing", "parks"))]
