"""SweepDag on a real Airflow."""

from __future__ import annotations

import pytest
from streams_under_test import TIMEOUT_S, Run, StreamUnderTest

pytestmark = pytest.mark.overlaps


def sweep(items: StreamUnderTest, *, expect: str = "success", **conf) -> Run:
    dag_id = f"sweep_{items.name}"
    run_id = items.airflow.trigger(dag_id, conf=conf)
    items.airflow.wait_for_run(dag_id, run_id, timeout_s=TIMEOUT_S, expect=expect)
    return Run(items.airflow, dag_id, run_id)


def harmed(items: StreamUnderTest) -> None:
    """Three documents missing, two stale, four orphaned."""
    items.at_target("DELETE FROM {} WHERE id IN (7, 8, 250)")
    items.at_target("UPDATE {} SET title = 'old', _reindex_version = _reindex_version - 1 WHERE id IN (9, 300)")
    items.at_source("DELETE FROM {} WHERE id IN (10, 11, 12, 399)")


def test_a_sweep_repairs_what_differs(stream):
    """A dry run reports and writes nothing; the sweep then repairs exactly that, and the next one finds nothing."""
    items = stream("swept")
    items.insert(range(400), updated_at="now() - interval '1 hour'")
    items.run()
    harmed(items)
    before = items.index

    dry = sweep(items, dry_run=True)
    assert items.index == before
    found = {"missing": 3, "stale": 2, "orphaned": 4, "newer": 0}
    report = dry.xcom("report", "reindex_sweep")
    assert {name: report[name] for name in found} == found
    assert (report["ranges"], report["ranges_differing"], report["repairs"], report["dry_run"]) == (4, 3, 0, True)
    assert report["max_delete_fraction"] == 0.1
    assert dry.states["repair", -1] == "skipped"

    run = sweep(items)
    report = run.xcom("report", "reindex_sweep")
    assert {name: report[name] for name in found} == found
    assert (report["created"], report["updated"], report["deleted"], report["status"]) == (3, 2, 4, "completed")
    assert report["examples"]["orphaned"] == [["10"], ["11"], ["12"], ["399"]]
    assert items.index == items.table
    progress = run.xcom("repair", "reindex_progress", 0)
    assert (progress["mode"], progress["status"]) == ("sweep", "completed")
    compared = run.xcom("compare", "reindex_progress", 1)
    assert (compared["status"], compared["processed"]) == ("completed", 99)
    assert "First ones orphaned: 10, 11, 12, 399" in run.log("report")
    names = {t["rendered_map_index"] for t in run.tasks if t["task_id"] == "repair"}
    assert names == {"1/4: 6 repairs", "3/4: 1 repairs", "4/4: 2 repairs"}

    again = sweep(items).xcom("report", "reindex_sweep")
    assert [again[name] for name in found] == [0, 0, 0, 0]
    assert again["listed"] == 0


def test_an_emptied_table_does_not_empty_the_index(stream):
    """All rows are gone: the sweep fails, says the numbers and the parameter, and deletes nothing."""
    items = stream("emptied")
    items.insert(range(50), updated_at="now() - interval '1 hour'")
    items.run()
    items.at_source("TRUNCATE {}")

    run = sweep(items, expect="failed")

    assert len(items.index) == 50
    assert run.states["allow", -1] == "failed"
    assert run.task("allow")["try_number"] == 1
    assert "50 of 50 documents" in run.log("allow")
    assert "max_delete_fraction=0.05 allows (2)" in run.log("allow")
    assert run.xcom("report", "reindex_sweep")["status"] == "failed"
