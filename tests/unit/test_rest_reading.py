"""What the REST API tells of streams and runs."""

from __future__ import annotations

from rest_client import API
from streams_of_rest import dags, stream


def test_list_detail_runs_and_run(metadata, server):
    """The four routes that read, on a stream with one run."""
    metadata.parse(*dags(stream()))
    metadata.beat()
    plan = {"stream": "items", "rows": 5}
    run_id = metadata.run("reindex_items", xcoms={("extract", -1, "reindex_plan"): plan})
    client = server.client("anna")

    found = client.get(f"{API}/streams").json()
    assert ([s["name"] for s in found["streams"]], found["total"]) == (["items"], 1)
    assert found["scheduler"]["alive"] is True
    detail = client.get(f"{API}/streams/items").json()
    assert {dag["dag_id"] for dag in detail["stream"]["dags"]} == {"reindex_items", "rebuild_items", "sweep_items"}
    assert "rebuild" in [act["name"] for act in detail["can"]]
    assert detail["may"] == {"cancel": True, "answer": True}
    runs = client.get(f"{API}/streams/items/runs").json()
    assert ([run["run_id"] for run in runs["runs"]], runs["total"]) == ([run_id], 1)
    run = client.get(f"{API}/streams/items/runs/reindex_items/{run_id}").json()
    assert (run["state"], run["total_count"]) == ("completed", 5)


def test_what_a_stopped_run_has_done(metadata, server):
    """Batches that did not end have done something, though the closing task counts none of it."""
    metadata.parse(*dags(stream()))
    xcoms = {
        ("extract", -1, "reindex_plan"): {"stream": "items", "rows": 10},
        ("index", 0, "reindex_progress"): {
            "stream": "items",
            "status": "cancelled",
            "total": 10,
            "processed": 4,
            "message": "",
        },
        ("checkpoint", -1, "reindex_run"): {"stream": "items", "processed": 0, "total": 10},
    }
    run_id = metadata.run(
        "reindex_items", "failed", xcoms=xcoms, tasks={("index", 0): "failed"}, note="Cancelled by anna"
    )
    run = server.client("anna").get(f"{API}/streams/items/runs/reindex_items/{run_id}").json()
    assert (run["state"], run["indexed_count"], run["progress"]) == ("cancelled", 4, 0.4)


def test_what_a_dry_run_says(metadata, server):
    """Of a run what it would index, of a sweep what differs: not that there was nothing to do."""
    metadata.parse(*dags(stream()))
    plan = {"stream": "items", "dry_run": True, "rows": 1200, "batches": 1}
    metadata.run("reindex_items", xcoms={("checkpoint", -1, "reindex_run"): plan})
    found = {"stream": "items", "dry_run": True, "ranges": 4, "rows": 9, "missing": 1, "stale": 0, "orphaned": 2}
    metadata.run("sweep_items", xcoms={("report", -1, "reindex_sweep"): found})
    runs = server.client("anna").get(f"{API}/streams/items/runs").json()["runs"]
    assert {run["mode"]: run["message"] for run in runs} == {
        "reindex": "A run would index 1,200 rows, in 1 batch.",
        "sweep": "Compared only: 1 missing, 2 orphaned.",
    }


def test_the_streams_of_a_dag(metadata, server):
    """Asked by the tab of a Dag; of one that carries none, or that is not there, none."""
    metadata.parse(*dags(stream()), *dags(stream("others")))
    client = server.client("anna")
    found = {
        dag_id: [s["name"] for s in client.get(f"{API}/streams?dag_id={dag_id}").json()["streams"]]
        for dag_id in ("rebuild_items", "reindex_others", "nothing")
    }
    assert found == {"rebuild_items": ["items"], "reindex_others": ["others"], "nothing": []}


def test_an_act_starts_one_run(metadata, server):
    """Asked for again it is the same run; with other arguments it is in the way."""
    metadata.parse(*dags(stream()))
    client = server.client("anna")
    rebuild = f"{API}/streams/items/acts/rebuild"
    first = client.post(rebuild, json={"promote": "wait"})
    assert (first.status_code, first.json()["created"]) == (201, True)
    again = client.post(rebuild, json={"promote": "wait"})
    assert (again.status_code, again.json()) == (200, first.json() | {"created": False})
    other = client.post(rebuild, json={"promote": "automatic"})
    assert (other.status_code, other.headers["content-type"]) == (409, "application/problem+json")
    assert other.json()["run_id"] == first.json()["run_id"]
