"""What the REST API tells of streams and runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest
from rest_client import API, Server
from streams_of_rest import dags, stream

pytestmark = pytest.mark.versions


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


@pytest.fixture
def many(metadata: Any) -> Any:
    """``a`` is idle, ``b`` fails, ``c`` is reindexing, ``d`` has 9 documents and is an hour behind."""
    now = datetime.now(UTC)
    for name in "abcd":
        metadata.parse(dags(stream(name), schedule="@daily")[0])
    metadata.run("reindex_b", "failed")
    metadata.run("reindex_c", "running")
    standing = {
        "stream": "d",
        "at": now.isoformat(),
        "fresh_until": (now - timedelta(hours=1)).isoformat(),
        "documents": 9,
    }
    metadata.run("reindex_d", xcoms={("checkpoint", -1, "reindex_standing"): standing})
    return metadata


@pytest.mark.parametrize(
    ("query", "names", "total"),
    [
        ("", "bacd", 4),
        ("order_by=-attention", "dcab", 4),
        ("order_by=name", "abcd", 4),
        ("order_by=-name", "dcba", 4),
        ("order_by=documents", "dabc", 4),
        ("order_by=-freshness", "dabc", 4),
        ("limit=2", "ba", 4),
        ("limit=2&offset=2", "cd", 4),
        ("limit=2&offset=4", "", 4),
        ("state=failing", "b", 1),
        ("state=failing&state=reindexing", "bc", 2),
        ("q=&state=", "bacd", 4),
        ("q=PUBLIC.C_index", "c", 1),
        ("q=%20d%20&order_by=name", "abcd", 4),
        ("q=nowhere", "", 0),
    ],
)
def test_lists_are_chosen_ordered_and_cut(server: Server, many: Any, query: str, names: str, total: int) -> None:
    """What needs somebody comes first; what is not known comes last, whichever way."""
    found = server.client("anna").get(f"{API}/streams?{query}").json()
    assert ("".join(s["name"] for s in found["streams"]), found["total"]) == (names, total)


def test_runs_are_paged(server: Server, metadata: Any) -> None:
    """Those of all Dags of the stream, the newest first."""
    metadata.parse(*dags(stream()))
    made = [metadata.run(f"{kind}_items") for kind in ("reindex", "rebuild", "sweep", "reindex", "reindex")]
    client = server.client("anna")
    pages = [client.get(f"{API}/streams/items/runs?limit=2&offset={offset}").json() for offset in (0, 2, 4)]
    assert [run["run_id"] for page in pages for run in page["runs"]] == made[::-1]
    assert {page["total"] for page in pages} == {5}


def test_what_is_answered_is_what_is_described(server: Server, many: Any) -> None:
    """By the OpenAPI schema: every field, and no other kind of value."""
    client = server.client("anna")
    described = client.get(f"{API}/openapi.json").json()
    for path, query in (("/streams", ""), ("/streams/{name}", "d"), ("/streams/{name}/runs", "b")):
        answer = client.get(f"{API}{path.replace('{name}', query)}").json()
        schema = described["paths"][f"/api/v1{path}"]["get"]["responses"]["200"]["content"]["application/json"][
            "schema"
        ]
        jsonschema.validate(answer, {**schema, "components": described["components"]})


def test_a_scheduler_that_died(server: Server, many: Any) -> None:
    client = server.client("anna")
    assert client.get(f"{API}/streams").json()["scheduler"] == {"alive": False, "last_heartbeat_at": None}
    many.beat(ago_s=600)
    dead = client.get(f"{API}/streams/c").json()["scheduler"]
    assert dead["alive"] is False
    assert dead["last_heartbeat_at"] is not None
    many.beat()
    assert client.get(f"{API}/streams/c").json()["scheduler"]["alive"] is True
