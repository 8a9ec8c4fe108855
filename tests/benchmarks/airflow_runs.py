"""What a run costs in a real Airflow: one with nothing to do and one with a single batch, against a Dag of the same shape whose
tasks do nothing, by turns. ``BENCH_RUNS`` is how many of each are measured. A run takes from its start to its end, the starts of
its tasks included.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow_reindex_provider.testing.airflow import Airflow
from airflow_reindex_provider.testing.postgres import Database, EmbeddedPostgres
from tests.benchmarks.contest import say
from tests.benchmarks.figures import Figure

RUNS = int(os.environ.get("BENCH_RUNS", "7"))
_DAG = "reindex_products"
_ROWS = 1000
_MARGIN_S = 3.0
"""The horizon lies two seconds behind a change, so that a run finds it."""
_OURS = """
from airflow_reindex_provider import PostgresSource, PostgresTarget, ReindexDag, Stream

ReindexDag(
    Stream(
        name="products",
        source=PostgresSource("shop_db", table="public.products", primary_key="id", cursor_field="updated_at"),
        target=PostgresTarget("search_db", index="public.products_index"),
    )
)
"""
_EMPTY = """
from airflow.sdk import DAG, BaseOperator, TriggerRule

class Gives(BaseOperator):
    def __init__(self, *, value=None, **kwargs):
        super().__init__(**kwargs)
        self.value = value

    def execute(self, context):
        return self.value

for dag_id, batches in (("empty_idle", []), ("empty_batch", [1])):
    with DAG(dag_id, schedule=None, max_active_runs=1):
        extract = Gives(task_id="extract", value=batches)
        index = Gives.partial(task_id="index").expand(value=extract.output)
        index >> Gives(task_id="checkpoint", trigger_rule=TriggerRule.ALL_DONE)
"""
_TABLE = "id int PRIMARY KEY, title text, updated_at timestamptz NOT NULL DEFAULT now()"


def figures() -> list[Figure]:
    with EmbeddedPostgres() as server, tempfile.TemporaryDirectory() as home:
        shop = server.create_database("shop", conn_id="shop_db")
        search = server.create_database("search", conn_id="search_db")
        with shop.connect() as db:
            db.execute(f"CREATE TABLE products ({_TABLE})".encode())
            db.execute("CREATE INDEX ON products (updated_at, id)")
        _change(shop)
        dags = Path(home) / "dags"
        dags.mkdir()
        (dags / "ours.py").write_text(_OURS)
        (dags / "empty.py").write_text(_EMPTY)
        with Airflow(
            Path(home) / "airflow", dag_folders={"runs": dags}, postgres=server, env=shop.env | search.env
        ) as airflow:
            took = _measure(airflow, shop)
    for name, seconds in took.items():
        say(f"{name}: {', '.join(f'{s:.2f}' for s in seconds)} s")
    middle = {name: statistics.median(seconds) for name, seconds in took.items()}
    return [
        Figure.compared("run_nothing_vs_empty", middle["idle"], middle["empty_idle"], "s", at_most=1.2),
        Figure.compared("run_batch_vs_empty", middle["batch"], middle["empty_batch"], "s", at_most=1.2),
    ]


def _measure(airflow: Airflow, shop: Database) -> dict[str, list[float]]:
    """Seconds of each run. The first turn is not counted: what is read first is in no cache yet."""
    airflow.wait_for_run(_DAG, airflow.trigger(_DAG))
    took: dict[str, list[float]] = {"empty_idle": [], "idle": [], "empty_batch": [], "batch": []}
    for turn in range(RUNS + 1):
        for name, seconds in took.items():
            if name == "batch":
                _change(shop)
            run = _run(airflow, name if name.startswith("empty") else _DAG, batches=name.endswith("batch"))
            if turn:
                seconds.append(run)
    return took


def _run(airflow: Airflow, dag_id: str, *, batches: bool) -> float:
    run = airflow.wait_for_run(dag_id, airflow.trigger(dag_id))
    indexed = [t["state"] for t in airflow.task_instances(dag_id, run["dag_run_id"]) if t["task_id"] == "index"]
    if indexed != (["success"] if batches else ["skipped"]):
        raise RuntimeError(
            f"{dag_id}: the states of index are {indexed}, with {'one batch' if batches else 'no batch'}"
        )
    return _seconds(run)


def _seconds(run: Mapping[str, Any]) -> float:
    start, end = (datetime.fromisoformat(run[side].replace("Z", "+00:00")) for side in ("start_date", "end_date"))
    return (end - start).total_seconds()


def _change(shop: Database) -> None:
    with shop.connect() as db:
        db.execute(
            "INSERT INTO products SELECT n, 'product ' || n FROM generate_series(1, %s) AS n"
            " ON CONFLICT (id) DO UPDATE SET updated_at = now()",
            [_ROWS],
        )
    time.sleep(_MARGIN_S)
