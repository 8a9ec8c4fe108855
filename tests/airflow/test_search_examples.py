"""The Dags of `dags/` that index into OpenSearch and Elasticsearch, unedited, on the real engines.

They do not overlap with other tests: those shall run where no engine can be had.
"""

from __future__ import annotations

from typing import Any

from streams_under_test import TIMEOUT_S, Run, until

from airflow_reindex_provider.testing.airflow import Airflow
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.search_engine import SearchEngine


def finish(airflow: Airflow, dag_id: str, **conf: Any) -> Run:
    run_id = airflow.trigger(dag_id, conf=conf)
    airflow.wait_for_run(dag_id, run_id, timeout_s=TIMEOUT_S)
    # Else its schedule goes on beside all tests to come.
    airflow.pause(dag_id)
    return Run(airflow, dag_id, run_id)


def committed(shop: Database, *statements: str) -> None:
    """Made, and far enough below the horizon to be read."""
    with shop.connect() as connection:
        for statement in statements:
            connection.execute(statement)
        (written,) = connection.execute("SELECT clock_timestamp()").fetchone()
        until(lambda: connection.execute("SELECT now() > %s + interval '2.1 s'", [written]).fetchone()[0], "the margin")


def swept(airflow: Airflow, dag_id: str) -> dict[str, int]:
    """What the sweeps so far have found and done: the schedule starts one as well."""
    finish(airflow, dag_id)
    runs = airflow.rest.get(f"/dags/{dag_id}/dagRuns", limit=100)["dag_runs"]
    reports = [Run(airflow, dag_id, run["dag_run_id"]).xcom("report", "reindex_sweep") for run in runs]
    return {what: sum(report[what] for report in reports) for what in ("missing", "stale", "orphaned", "deleted")}


def found(engine: SearchEngine, index: str, query: dict[str, Any]) -> list[str]:
    engine.call("POST", f"/{index}/_refresh")
    hits = engine.call("POST", f"/{index}/_search", {"query": query, "size": 1000})["hits"]["hits"]
    return sorted(hit["_id"] for hit in hits)


def test_opensearch(airflow: Airflow, shop: Database, opensearch: SearchEngine):
    """`reindex_recipes`: load, edit and soft delete; the sweep finds what was deleted outright; the rebuild moves the alias."""
    committed(
        shop,
        "CREATE TABLE recipes (id bigint PRIMARY KEY, title text, tags text[], deleted_at timestamptz,"
        " updated_at timestamptz NOT NULL DEFAULT now())",
        "INSERT INTO recipes SELECT n, 'soup ' || n, ARRAY['hot', NULL], NULL, now() - interval '1 h'"
        " FROM generate_series(1, 300) n",
    )
    finish(airflow, "reindex_recipes")
    assert len(found(opensearch, "recipes", {"term": {"tags": "hot"}})) == 300

    committed(
        shop,
        "UPDATE recipes SET title = 'Bread', updated_at = now() WHERE id = 7",
        "UPDATE recipes SET deleted_at = now(), updated_at = now() WHERE id = 8",
        "DELETE FROM recipes WHERE id = 9",
    )
    finish(airflow, "reindex_recipes")
    assert found(opensearch, "recipes", {"match": {"title": "bread"}}) == ["7"]
    assert found(opensearch, "recipes", {"ids": {"values": ["8", "9"]}}) == ["9"]

    assert swept(airflow, "sweep_recipes") == {"missing": 0, "stale": 0, "orphaned": 1, "deleted": 1}
    before = set(opensearch.call("GET", "/_alias/recipes"))
    finish(airflow, "rebuild_recipes")
    after = set(opensearch.call("GET", "/_alias/recipes"))
    assert len(before) == len(after) == 1
    assert before != after
    assert len(found(opensearch, "recipes", {"match_all": {}})) == 298
    assert found(opensearch, "recipes", {"match": {"title": "bread"}}) == ["7"]


def test_elasticsearch(airflow: Airflow, shop: Database, elasticsearch: SearchEngine):
    """`reindex_tickets`: the transform's own field is searched; a ticket of which it makes nothing leaves the index; sweep and
    rebuild end with the same documents."""
    committed(
        shop,
        "CREATE TABLE tickets (id uuid PRIMARY KEY, subject text, message text,"
        " updated_at timestamptz NOT NULL DEFAULT now())",
        "INSERT INTO tickets SELECT md5(n::text)::uuid, 'broken ' || n, 'it smokes', now() - interval '1 h'"
        " FROM generate_series(1, 300) n",
    )
    finish(airflow, "reindex_tickets")
    assert len(found(elasticsearch, "tickets", {"match": {"words": "smokes"}})) == 300

    committed(shop, "UPDATE tickets SET subject = '', updated_at = now() WHERE subject IN ('broken 1', 'broken 2')")
    finish(airflow, "reindex_tickets")
    left = found(elasticsearch, "tickets", {"match_all": {}})
    assert len(left) == 298

    assert swept(airflow, "sweep_tickets")["deleted"] == 0
    finish(airflow, "rebuild_tickets")
    assert found(elasticsearch, "tickets", {"match_all": {}}) == left
    (generation,) = elasticsearch.call("GET", "/_alias/tickets")
    assert elasticsearch.call("GET", f"/{generation}/_settings")[generation]["settings"]["index"]["gc_deletes"] == "6h"
