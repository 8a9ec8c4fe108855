"""MaintenanceDag on a real Airflow."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from streams_under_test import TIMEOUT_S, Run, StreamUnderTest

from airflow_reindex_provider.operators.notes import KEEP_JOBS

pytestmark = pytest.mark.overlaps


def maintain(items: StreamUnderTest, *, expect: str = "success", **conf) -> Run:
    run_id = items.airflow.trigger("maintain_littered", conf=conf)
    items.airflow.wait_for_run("maintain_littered", run_id, timeout_s=TIMEOUT_S, expect=expect)
    return Run(items.airflow, "maintain_littered", run_id)


def tables(items: StreamUnderTest) -> set[str]:
    with items.target.connect() as db:
        found = db.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'littered_index_%'")
        return {name for (name,) in found}


def notes(run: Run, task_id: str) -> list[tuple[str, timedelta]]:
    """What all instances of a task have left in the task state store, and how long it is kept from then on."""
    found = []
    for task in (t for t in run.tasks if t["task_id"] == task_id):
        path = f"{run.path(task_id).removesuffix('/')}/state-store"
        for kept in run.airflow.rest.get(path, map_index=task["map_index"])["task_state_store"]:
            ends, since = (datetime.fromisoformat(kept[name]) for name in ("expires_at", "updated_at"))
            found.append((kept["key"], timedelta(hours=round((ends - since).total_seconds() / 3600))))
    return found


def test_a_clean_up_lists_first_and_drops_then(stream):
    """The first run drops nothing; the second drops what a rebuild had left and a checkpoint of nothing, with Variables as the
    store, and tells it as an event. The live index stays as it is. What a run has noted for itself has an end."""
    items = stream("littered")
    items.insert(range(20), updated_at="now() - interval '1 hour'")
    run = items.run()
    (live,) = tables(items)
    assert notes(run, "extract") == notes(run, "index") == []
    assert notes(run, "checkpoint") == [("reindex_measured", KEEP_JOBS)]
    left = "littered_index_20200101t000000"
    with items.target.connect() as db:
        db.execute(f"CREATE TABLE {left} (LIKE {live} INCLUDING ALL)")
        comment = '{"airflow_reindex_provider": {"stream": "littered"}}'
        db.execute(f"COMMENT ON TABLE {left} IS '{comment}'")

    first = maintain(items)
    assert first.states["drop", -1] == "skipped"
    assert [thing["name"] for thing in first.xcom("find")] == [left]
    assert "a rebuild has left it" in first.log("find")
    assert tables(items) == {live, left}

    second = maintain(items)
    assert tables(items) == {live}
    report = second.xcom("drop")
    assert (report["dropped"], report["kinds"]) == (1, {"generation": 1})
    assert report["bytes"] > 0
    assert items.index == items.table

    assert maintain(items, dry_run=False).xcom("drop")["dropped"] == 0
    events = items.airflow.rest.get("/assets/events", source_dag_id="maintain_littered")["asset_events"]
    assert [event["extra"]["event"] for event in events] == ["gc.completed", "gc.completed"]
    assert {event["extra"]["dropped"] for event in events} == {0, 1}
