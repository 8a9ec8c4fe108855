"""Runs that start when there is something to do, on a real Airflow whose parts are killed."""

from __future__ import annotations

from itertools import count, pairwise

import psycopg
from streams_under_test import StreamUnderTest, until


def test_no_change_is_lost_whatever_is_killed(stream):
    """The triggerer, the source's connections and the scheduler, one after the other: what was committed meanwhile is in the
    index soon after they are back, by runs that the watcher has started, one at a time."""
    items: StreamUnderTest = stream("watched")
    airflow = items.airflow
    airflow.wait_for_dag("reindex_watched")
    airflow.pause("reindex_watched", False)
    # Airflow watches the assets of Dags that were not paused when it parsed them, and it parses seldom here.
    token = airflow.rest.get("/dags/reindex_watched/details")["file_token"]
    airflow.rest.call("PUT", f"/api/v2/parseDagFile/{token}")

    def arrives(what: str) -> None:
        until(lambda: found(items) == items.table, what)
        until(lambda: not active(items), f"the end of the runs: {what}")

    ids = count(1)

    def watched() -> list[dict]:
        items.insert([next(ids)])
        arrives("a row before anything is killed")
        return by_watcher(items)

    # The first ones may come by the hourly run, as long as that parse is still to come.
    until(watched, "a run that the watcher has started")

    airflow.kill("triggerer")
    items.insert([next(ids)])
    airflow.restart("triggerer")
    arrives("what was committed without a triggerer")

    for _ in range(3):
        items.at_source(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        items.insert([next(ids)])
    arrives("what was committed while the source's connections were lost")

    airflow.kill("scheduler")
    items.insert([next(ids)])
    airflow.restart("scheduler")
    arrives("what was committed without a scheduler")

    airflow.pause("reindex_watched")
    runs = airflow.rest.get("/dags/reindex_watched/dagRuns", limit=100)["dag_runs"]
    assert len(by_watcher(items)) >= 4
    spans = sorted((run["start_date"], run["end_date"]) for run in runs)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    # No flood: an event of the watcher for each of the changes, and one more at the most for each that was killed.
    events = airflow.rest.get("/assets/events", limit=100, order_by="-timestamp")["asset_events"]
    told = [event for event in events if event["uri"].startswith("reindex-changes://watched")]
    assert len(told) <= len(items.table) + 3


def found(items: StreamUnderTest) -> dict[int, str]:
    """What a search finds; nothing before the first load has ended."""
    try:
        return items.index
    except psycopg.errors.UndefinedTable:
        return {}


def by_watcher(items: StreamUnderTest) -> list[dict]:
    runs = items.airflow.rest.get("/dags/reindex_watched/dagRuns", limit=100)["dag_runs"]
    return [run for run in runs if run["run_type"] == "asset_triggered"]


def active(items: StreamUnderTest) -> list[dict]:
    runs = items.airflow.rest.get("/dags/reindex_watched/dagRuns", limit=100)["dag_runs"]
    return [run for run in runs if run["state"] in ("queued", "running")]
