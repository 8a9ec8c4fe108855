"""A stream is watched and steered by REST alone, on a real Airflow."""

from __future__ import annotations

import os
import signal
import time
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest
from streams_under_test import Run, StreamUnderTest, until

from airflow_reindex_provider.testing.airflow import Airflow

pytestmark = pytest.mark.overlaps

MOST_S = 10
"""So long a cancelled run goes on writing, at the most."""


class Door:
    """One stream, as whoever has signed in in a browser asks for it: by Airflow's cookie."""

    def __init__(self, airflow: Airflow, name: str) -> None:
        self._client = httpx.Client(base_url=airflow.url, timeout=60, trust_env=False)
        who = {"username": airflow.user, "password": airflow.password}
        token = self._client.post("/auth/token", json=who).raise_for_status().json()["access_token"]
        self._client.cookies.set("_token", token)
        self._path = f"/reindex/api/v1/streams/{name}"

    def ask(self, path: str = "", **params: Any) -> Any:
        return self._client.get(self._path + path, params=params).raise_for_status().json()

    @property
    def stream(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask()["stream"]
        return found

    def is_known(self, *dag_ids: str) -> bool:
        """Whether all of these Dags have been parsed."""
        answer = self._client.get(self._path)
        return answer.status_code == 200 and {d["dag_id"] for d in answer.json()["stream"]["dags"]} == set(dag_ids)

    def do(self, path: str, body: dict[str, Any], status: int = 200) -> Any:
        answer = self._client.post(self._path + path, json=body, headers={"Sec-Fetch-Site": "same-origin"})
        assert answer.status_code == status, answer.text
        return answer.json()

    def act(self, name: str, **arguments: Any) -> str:
        """Path of the run that it has started."""
        started = self.do(f"/acts/{name}", arguments, status=201)
        return f"/runs/{started['dag_id']}/{quote(started['run_id'], safe='')}"

    def end(self, run: str, state: str = "completed") -> Any:
        def ended() -> Any:
            shown = self.ask(run)
            return shown if shown["ended_at"] else None

        shown = until(ended, f"the end of {run}")
        assert shown["state"] == state, shown
        return shown


def open_door(items: StreamUnderTest, *dag_ids: str) -> Door:
    """Once the stream's Dags are there; they are not paused."""
    for dag_id in dag_ids:
        items.airflow.wait_for_dag(dag_id)
        items.airflow.pause(dag_id, False)
    door = Door(items.airflow, items.name)
    until(lambda: door.is_known(*dag_ids), f"stream {items.name}")
    return door


def has_looked_thrice(airflow: Airflow) -> None:
    """The scheduler. An answer that comes before it has heard of the question's task that it is over can be lost by it."""

    def beat() -> str:
        return str(airflow.rest.get("/monitor/health")["scheduler"]["latest_scheduler_heartbeat"])

    for _ in range(3):
        last = beat()
        until(lambda last=last: beat() != last, "the scheduler's heart to beat")


def live(door: Door) -> str:
    (name,) = [generation["name"] for generation in door.stream["generations"] if generation["live"]]
    return str(name)


def test_run_watch_rebuild_approve_roll_back_and_cancel(stream):
    items = stream("asked")
    items.insert(range(250))
    items.insert([250], title="held")
    items.pull_brake()
    door = open_door(items, "reindex_asked", "rebuild_asked")
    assert door.stream["state"] == "idle"

    run = door.act("run")
    assert door.do("/acts/run", {})["created"] is False
    items.wait_until_held()
    held = until(lambda: next(iter([s for s in [door.stream] if s["progress"]]), None), "progress")
    assert (held["state"], held["reindexing"], held["run"]["state"]) == ("reindexing", True, "running")
    assert 0 < held["progress"] < 1
    assert held["total_count"] == 251
    assert "running" in {batch["status"] for batch in held["run"]["batches"]}
    items.release_brake()
    ended = door.end(run)
    assert (ended["progress"], ended["indexed_count"], ended["total_count"]) == (1.0, 251, 251)
    assert ended["by"] == items.airflow.user
    after = door.stream
    assert (after["state"], after["documents"], after["run"]) == ("idle", 251, None)
    assert after["last_success"]["run_id"] == ended["run_id"]
    assert after["freshness"]["at_most_s"] < 600
    first = live(door)

    rebuild = door.act("rebuild", promote="wait")
    until(lambda: door.stream["state"] == "waiting for approval", "a request to approve")
    assert door.ask(rebuild)["approval"]
    has_looked_thrice(items.airflow)
    assert door.do(f"{rebuild}/answer", {"approve": True}) == {"task_id": "approve"}
    door.end(rebuild)
    second = live(door)
    assert second != first
    assert items.index == items.table

    door.end(door.act("rollback", rollback_to="previous"))
    assert live(door) == first

    items.brake.with_suffix(".held").unlink()
    items.pull_brake()
    items.insert([251], title="held")
    stopped = door.act("run")
    items.wait_until_held()
    shown = door.ask(stopped)
    worker = Run(items.airflow, shown["dag_id"], shown["run_id"]).task("index", 0)["pid"]
    assert door.do(f"{stopped}/cancel", {}) == {"cancelled": True}
    over = door.end(stopped, "cancelled")
    until(lambda: not psutil.pid_exists(worker), "the task to end")
    items.release_brake()
    assert over["message"].startswith(f"Cancelled by {items.airflow.user}")
    assert door.do(f"{stopped}/cancel", {}) == {"cancelled": False}
    assert door.stream["state"] == "idle"
    assert 251 not in items.index
    door.end(door.act("run"))
    assert items.index == items.table


def test_a_cancelled_run_has_ended_within_ten_seconds(stream):
    """In the middle of a batch of 40 seconds: its record says so, its task writes nothing more, and its process is gone."""
    items = stream("called_off")
    items.insert(range(400), title="slow")
    items.pull_brake(0.1)
    door = open_door(items, "reindex_called_off")
    run = door.act("run")
    until(lambda: items.generations and written(items), "a chunk to be written")
    shown = door.ask(run)
    worker = Run(items.airflow, shown["dag_id"], shown["run_id"]).task("index", 0)["pid"]

    began = time.monotonic()
    assert door.do(f"{run}/cancel", {}) == {"cancelled": True}
    assert door.ask(run)["state"] == "cancelled"
    before, last_write = written(items), began
    while psutil.pid_exists(worker):
        if (now := written(items)) != before:
            before, last_write = now, time.monotonic()
        time.sleep(0.05)

    assert last_write - began < MOST_S
    assert 0 < written(items) == before < 400
    items.release_brake()
    door.end(door.act("run"))
    assert items.index == items.table


def written(items: StreamUnderTest) -> int:
    return int(items.at_target("SELECT count(*) FROM {}")[0][0])


def test_a_task_that_is_killed_does_not_stay_running(stream):
    """Its run is shown as failed as soon as Airflow knows of it, and says what is wanting."""
    items = stream("struck")
    items.insert(range(5))
    items.insert([5], title="held")
    items.pull_brake()
    door = open_door(items, "reindex_struck")
    path = door.act("run")
    items.wait_until_held()
    shown = door.ask(path)
    run = Run(items.airflow, shown["dag_id"], shown["run_id"])
    os.kill(run.task("index", 0)["pid"], signal.SIGKILL)
    until(lambda: run.shown["state"] == "failed", "Airflow to notice")
    after = door.stream
    assert (after["state"], after["run"], after["reindexing"]) == ("failing", None, False)
    over = door.ask(path)
    assert (over["state"], over["batches"][0]["status"]) == ("failed", "failed")
    assert over["reason"] == after["last_failure"]["reason"]
    assert over["reason"]
    items.release_brake()
    door.end(door.act("run"))
    assert door.stream["state"] == "idle"
