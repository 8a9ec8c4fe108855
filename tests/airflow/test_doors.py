"""The page's REST API and the command line say the same of a stream, to the last figure, and what they say is so."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from command_line import CommandLine
from streams_under_test import StreamUnderTest, until

from airflow_reindex_provider.testing.airflow import Airflow
from airflow_reindex_provider.testing.postgres import Database

pytestmark = pytest.mark.overlaps

PREFIX = "/reindex/api/v1/streams"


def shown(airflow: Airflow, name: str) -> dict[str, Any]:
    """The stream as the page gets it."""
    return dict(airflow.rest.call("GET", f"{PREFIX}/{name}")["stream"])


def typed(cli: CommandLine, name: str, *options: str) -> dict[str, Any]:
    return dict(cli.reindex("status", name, *options, "-o", "json").json)


def test_how_fresh_a_stream_is(
    airflow: Airflow, cli: CommandLine, stream: Callable[..., StreamUnderTest], held: Database
) -> None:
    """Rows come at known times while no run does; a transaction stays open, and some rows are stamped ahead. The bound is never
    too small, the exact figure is right to the second whoever is asked, and says what holds the horizon back."""
    items = stream("fresh", source=held)
    items.insert(range(1, 6), updated_at="now() - interval '1 hour'")
    items.run()
    with held.connect() as nightly, held.connect() as db:
        nightly.execute("SET application_name = 'nightly import'")
        with nightly.transaction():
            nightly.execute("INSERT INTO fresh VALUES (100, 'late', now())")
            items.insert([10, 11])
            items.insert(range(20, 25), updated_at="now() + interval '10 minutes'")
            row = db.execute("SELECT updated_at FROM fresh WHERE id = 10").fetchone()
            assert row is not None
            oldest: datetime = row[0]

            before = datetime.now(UTC)
            freshness = shown(airflow, "fresh")["freshness"]
            assert freshness["at_most_s"] >= (before - oldest).total_seconds()
            assert typed(cli, "fresh")["freshness"]["fresh_until"] == freshness["fresh_until"]

            by_hand = typed(cli, "fresh", "--exact")["freshness"]["looked"]
            begun = airflow.rest.call("POST", f"{PREFIX}/fresh/acts/look", json={})
            airflow.wait_for_run(begun["dag_id"], begun["run_id"])
            by_run = shown(airflow, "fresh")["freshness"]["looked"]
            assert typed(cli, "fresh")["freshness"]["looked"] == by_run
            for looked in (by_hand, by_run):
                assert (looked["waiting"], looked["ahead"]) == (2, 5)
                assert datetime.fromisoformat(looked["oldest_at"]) == oldest
                age = datetime.fromisoformat(looked["at"]) - oldest
                assert abs(age - timedelta(seconds=looked["oldest_s"])) < timedelta(seconds=1)
                assert "nightly import" in looked["held_by"]

    run = items.run()
    after = shown(airflow, "fresh")
    horizon = datetime.fromisoformat(run.sums["horizon"])
    reached = datetime.fromisoformat(after["freshness"]["fresh_until"])
    assert abs(reached - horizon) < timedelta(milliseconds=1)
    assert {10, 11, 100} <= items.index.keys()


def test_all_say_the_same(airflow: Airflow, cli: CommandLine, stream: Callable[..., StreamUnderTest]) -> None:
    """After runs of every kind, one of them failed, one cancelled."""
    items = stream("agreed")
    items.insert(range(30), updated_at="now() - interval '1 minute'")
    items.at_source("UPDATE {} SET title = 'wordy' WHERE id = 3")
    airflow.wait_for_dag("rebuild_agreed")
    airflow.wait_for_dag("sweep_agreed")
    for dag in ("rebuild_agreed", "sweep_agreed"):
        airflow.pause(dag, False)
    items.run()
    items.start(window_start="no time").end("failed")
    cli.reindex("rebuild", "agreed")
    cli.reindex("sweep", "agreed")
    cli.reindex("rollback", "agreed", "previous")
    until(
        lambda: shown(airflow, "agreed")["state"] == "failing", "the failed run to show, now that no other is under way"
    )

    by_rest, by_hand = shown(airflow, "agreed"), typed(cli, "agreed")
    # What goes by the clock of the moment.
    for record in (by_rest, by_hand):
        record["freshness"].pop("at_most_s")
    (listed,) = [s for s in cli.reindex("list", "-o", "json").json if s["name"] == "agreed"]
    assert by_rest["parked"]["count"] == 1
    assert {name: by_hand[name] for name in ("state", "documents", "parked", "generations", "checkpoint")} == {
        name: by_rest[name] for name in ("state", "documents", "parked", "generations", "checkpoint")
    }
    assert {name: listed[name] for name in ("state", "documents", "progress", "indexed_count", "total_count")} == {
        name: by_rest[name] for name in ("state", "documents", "progress", "indexed_count", "total_count")
    }
    runs = {run["run_id"]: run for run in by_rest["recent"]}
    for run in by_hand["recent"]:
        assert {name: value for name, value in run.items() if name != "batches"} == {
            name: value for name, value in runs[run["run_id"]].items() if name != "batches"
        }
    assert {run["state"] for run in runs.values()} == {"completed", "failed"}
    assert {run["mode"] for run in runs.values()} == {"reindex", "rebuild", "sweep", "rollback"}
