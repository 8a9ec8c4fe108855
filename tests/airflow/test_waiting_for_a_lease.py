"""Rebuilds and sweeps that meet each other on a real Airflow."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from streams_under_test import Run, StreamUnderTest, until

pytestmark = pytest.mark.overlaps


def started(items: StreamUnderTest, dag_id: str, **conf) -> Run:
    return Run(items.airflow, dag_id, items.airflow.trigger(dag_id, conf=conf))


def scheduled(items: StreamUnderTest, dag_id: str) -> Run:
    """The run of a Dag that runs once, as soon as it may."""
    items.airflow.wait_for_dag(dag_id)
    items.airflow.pause(dag_id, False)
    path = f"/dags/{dag_id}/dagRuns"
    (run,) = until(lambda: items.airflow.rest.get(path, run_type="scheduled")["dag_runs"], f"a run of {dag_id}")
    return Run(items.airflow, dag_id, run["dag_run_id"])


def test_who_meets_another_run(stream):
    """While a rebuild holds the stream, a person's sweep fails at once and names it; scheduled ones, and one that a person
    lets wait, are deferred, without a process of their own, and end well after it; one that may not wait is skipped as a
    whole. Of a run that was marked failed it is said that it is over."""
    items = stream("contended")
    items.insert(range(20), updated_at="now() - interval '1 hour'")
    items.run()
    rebuild = started(items, "rebuild_contended", promote="wait")
    until(
        lambda: rebuild.states.get(("approve", -1)) in ("awaiting_input", "deferred", "failed"), "a request to approve"
    )

    asked = started(items, "sweep_contended", wait=True)
    patient = scheduled(items, "sweep_contended_patiently")
    for waiting in (asked, patient):
        until(
            lambda run=waiting: run.states.get(("plan", -1)) in ("deferred", "success", "failed"), "a sweep that waits"
        )
        assert waiting.states["plan", -1] == "deferred"
        assert f"rebuild of run rebuild_contended {rebuild.run_id}" in waiting.log("plan")

    told = started(items, "sweep_contended").end("failed")
    assert (told.task("plan")["try_number"], told.states["plan", -1]) == (1, "failed")
    assert f"rebuild of run rebuild_contended {rebuild.run_id}" in told.log("plan")
    assert "trigger this one again with wait=true" in told.log("plan")

    brief = scheduled(items, "sweep_contended_briefly").end()
    assert set(brief.states.values()) == {"skipped"}
    assert f"rebuild of run rebuild_contended {rebuild.run_id}" in brief.xcom("plan", "reindex_busy")
    assert "rebuild of run" in brief.log("report")

    path = f"/dags/rebuild_contended/dagRuns/{quote(rebuild.run_id, safe='')}/taskInstances/approve/-1/hitlDetails"
    items.airflow.rest.patch(path, {"chosen_options": ["Approve"], "params_input": {}})
    rebuild.end()
    for waited in (asked, patient):
        waited.end()
        assert waited.xcom("report", "reindex_sweep")["status"] == "completed"
    assert items.airflow.variable("reindex.contended.lease") is None
    assert items.index == items.table

    left = started(items, "rebuild_contended", promote="wait")
    until(lambda: left.states.get(("approve", -1)) in ("awaiting_input", "deferred", "failed"), "a request to approve")
    path = f"/dags/rebuild_contended/dagRuns/{quote(left.run_id, safe='')}"
    items.airflow.rest.patch(path, {"state": "failed"})
    left.end("failed")
    told = started(items, "sweep_contended").end("failed")
    assert "That run is over and has not given its lease back" in told.log("plan")
    assert "airflow variables delete 'reindex.contended.lease'" in told.log("plan")
