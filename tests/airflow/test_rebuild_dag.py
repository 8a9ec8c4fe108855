"""RebuildDag on a real Airflow."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from streams_under_test import TIMEOUT_S, Run, StreamUnderTest, until

pytestmark = pytest.mark.overlaps


def start(items: StreamUnderTest, **conf) -> Run:
    dag_id = f"rebuild_{items.name}"
    return Run(items.airflow, dag_id, items.airflow.trigger(dag_id, conf=conf))


def end(run: Run, expect: str = "success") -> Run:
    run.airflow.wait_for_run(run.dag_id, run.run_id, timeout_s=TIMEOUT_S, expect=expect)
    return run


def test_rebuild_approve_and_roll_back(stream):
    """The new index has what was written before a person approved it; the rollback has what was written since."""
    items = stream("rebuilt")
    items.insert(range(250), updated_at="now() - interval '1 hour'")
    items.run()
    (first,) = items.generations

    run = start(items, promote="wait")
    until(lambda: run.states.get(("approve", -1)) in ("awaiting_input", "deferred", "failed"), "a request to approve")
    items.retitle([1, 2], "while a person thinks")
    checked = run.xcom("verify")
    assert (checked["documents"], checked["rows"], checked["orphaned"]) == (250, 250, 0)
    assert len(items.generations) == 2
    # The live one is kept true meanwhile. (And an answer in the very second of the question can be lost by the scheduler.)
    items.run()
    assert items.index == items.table
    answer = {"chosen_options": ["Approve"], "params_input": {}}
    path = f"/dags/{run.dag_id}/dagRuns/{quote(run.run_id, safe='')}/taskInstances/approve/-1/hitlDetails"
    items.airflow.rest.patch(path, answer)
    end(run)
    second = items.generations[-1]
    assert run.xcom("retire") == {"generation": second, "generations": [first, second], "dropped": []}
    items.retitle([3], "since the swap")
    items.run()
    assert items.index == items.table

    back = end(start(items, rollback_to="previous"))
    assert back.xcom("promote")["generation"] == first
    assert (back.states["copy", -1], back.states["verify", -1]) == ("skipped", "skipped")
    assert items.index == items.table


def test_a_failed_verification_leaves_the_live_index(stream):
    """Most rows are gone: the rebuild fails with the numbers, the live index serves on, and the lease is given back."""
    items = stream("shrunk")
    items.insert(range(50), updated_at="now() - interval '1 hour'")
    items.run()
    before = items.index
    items.at_source("DELETE FROM {} WHERE id > 9")
    run = end(start(items), expect="failed")
    assert "10 documents, less than min_size_ratio=0.5 of the 50" in run.log("verify")
    assert items.index == before
    assert items.airflow.variable(f"reindex.{items.name}.lease") is None


def test_a_run_in_flight_is_skipped(stream):
    """A run whose generation is retired while it writes: it ends as skipped and says why; the next one brings its rows."""
    items = stream("retired")
    items.insert(range(20), updated_at="now() - interval '1 hour'")
    items.run()
    items.pull_brake()
    items.retitle([3], "held")
    in_flight = items.start()
    items.wait_until_held()
    items.retitle([3], "free again")
    rebuilt = end(start(items))
    assert len(rebuilt.xcom("retire")["dropped"]) == 1
    items.release_brake()
    in_flight.end()
    assert (in_flight.states["index", 0], in_flight.states["checkpoint", -1]) == ("skipped", "skipped")
    assert "so nothing is lost" in in_flight.log("index", 0)
    items.retitle([4], "since")
    items.run()
    assert items.index == items.table
