"""On CeleryExecutor, with a real Redis and two workers: the example Dags, and the loss of a worker in the middle of a batch."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import psutil
import pytest
from redis import Redis

from airflow_reindex_provider.testing.airflow import Airflow
from airflow_reindex_provider.testing.postgres import EmbeddedPostgres
from airflow_reindex_provider.testing.redis_server import RedisServer
from airflow_reindex_provider.testing.search_engine import SearchEngine

T = TypeVar("T")

_HERE = Path(__file__).parent
_TIMEOUT_S = 300
_EXAMPLES = {
    "reindex_products": (
        "SELECT id, title FROM products WHERE deleted_at IS NULL",
        "SELECT id, title FROM products_index",
    ),
    "reindex_customers": (
        "SELECT id, split_part(email, '@', 2) FROM customers WHERE consent AND name <> ''",
        "SELECT id, email_domain FROM customers_index",
    ),
    "example_reindex_operators": (
        "SELECT order_id, line, quantity FROM order_lines",
        "SELECT order_id, line, quantity FROM order_lines_index",
    ),
}


@pytest.fixture(scope="module")
def brake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("brake") / "pulled"


@pytest.fixture(scope="module")
def airflow(
    sample_shop: EmbeddedPostgres, redis: RedisServer, brake: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Airflow]:
    databases = [
        sample_shop.database("shop", conn_id="shop_db"),
        sample_shop.database("search", conn_id="search_db"),
        sample_shop.create_database("slow", conn_id="slow_db"),
    ]
    settings = {
        "REINDEX_TEST_BRAKE": str(brake),
        # What decides over a take-over, in seconds instead of minutes.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
        # So that Redis hands out again, while the tests last, what a lost worker had not acknowledged.
        "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "20",
    }
    with Airflow(
        tmp_path_factory.mktemp("airflow"),
        dag_folders={"examples": _HERE.parents[1] / "dags", "slow": _HERE / "celery_dags"},
        postgres=sample_shop,
        broker_url=redis.url,
        workers=2,
        env={name: value for database in databases for name, value in database.env.items()} | settings,
    ) as running:
        yield running


@pytest.mark.parametrize(("dag_id", "queries"), _EXAMPLES.items(), ids=list(_EXAMPLES))
def test_an_example_dag_runs_unedited(
    dag_id: str, queries: tuple[str, str], airflow: Airflow, sample_shop: EmbeddedPostgres
) -> None:
    """The sample data of docker-compose.yaml are in the index after the first run, the schedule's or ours."""
    airflow.trigger(dag_id)
    _until(lambda: airflow.rest.get(f"/dags/{dag_id}/dagRuns", state="success")["dag_runs"], f"a run of {dag_id}")

    there, here = (_rows(sample_shop, name, query) for name, query in zip(("shop", "search"), queries, strict=True))
    assert len(there) > 100
    assert here == there


@pytest.mark.parametrize("engine", ["postgres", "opensearch"])
def test_a_lost_worker_costs_time_alone(
    engine: str,
    airflow: Airflow,
    sample_shop: EmbeddedPostgres,
    brake: Path,
    request: pytest.FixtureRequest,
) -> None:
    """Of four batches on two workers, those of the killed one go on at the other behind their last noted chunk: no row before
    is read again, the counts include them, and the index equals the table."""
    name, dag_id = f"slow_{engine}", f"reindex_slow_{engine}"
    if engine == "postgres":
        documents = _in_postgres(sample_shop)
    else:
        server: SearchEngine = request.getfixturevalue("opensearch")
        where = urlsplit(server.url)
        connection = {
            "connection_id": "opensearch",
            "conn_type": "opensearch",
            "host": where.hostname,
            "port": where.port,
        }
        airflow.rest.post("/connections", connection)
        documents = _in(server)
    with sample_shop.database("slow").connect() as connection:
        connection.execute(f"CREATE TABLE {name} (id bigint PRIMARY KEY, title text, updated_at timestamptz NOT NULL)")
        connection.execute(f"CREATE INDEX ON {name} (updated_at, id)")
        connection.execute(
            f"INSERT INTO {name} SELECT i, 'row ' || i, now() - interval '1 h' + i * interval '1 s'"
            " FROM generate_series(0, 399) AS i"
        )
    brake.touch()
    run_id = airflow.trigger(dag_id)

    def noted(batch: int) -> int:
        """Rows of a batch that the task state store knows as acknowledged."""
        run = quote(run_id, safe="")
        path = f"/dags/{dag_id}/dagRuns/{run}/taskInstances/index/state-store/reindex_resume"
        entry = airflow.rest.find(path, map_index=batch)
        return 0 if entry is None else sum(entry["value"]["counts"].values())

    _until(lambda: all(noted(batch) >= 20 for batch in range(4)), "20 rows of each batch to be noted")
    workers = {t["map_index"]: airflow.component_of(t["pid"]) for t in _index_tasks(airflow, dag_id, run_id)}
    victim = workers[0]
    airflow.kill(victim)
    lost = [batch for batch, worker in workers.items() if worker == victim]
    before = {batch: noted(batch) for batch in lost}
    brake.unlink()
    airflow.wait_for_run(dag_id, run_id, timeout_s=_TIMEOUT_S)

    assert set(workers.values()) <= {"worker-1", "worker-2"}
    for task in _index_tasks(airflow, dag_id, run_id):
        batch = task["map_index"]
        assert task["try_number"] == (2 if batch in lost else 1)
        assert airflow.xcom(dag_id, run_id, "index", map_index=batch)["processed"] == 100
        tries = _tries(airflow.log_of(dag_id, run_id, "index", map_index=batch))
        if batch in lost:
            assert 20 <= before[batch] < 100
            assert tries[1] == list(range(100 * batch + before[batch], 100 * batch + 100))
        else:
            assert tries == [list(range(100 * batch, 100 * batch + 100))]
    assert documents(name) == {i: f"row {i}" for i in range(400)}

    airflow.restart(victim)


def test_the_messages_of_lost_tries_run_nothing(airflow: Airflow, redis: RedisServer) -> None:
    """After the test above Redis hands them out again: no task has another try, and the runs stay as they were."""
    dag_id = "reindex_slow_postgres"
    (run,) = airflow.rest.get(f"/dags/{dag_id}/dagRuns", run_type="manual")["dag_runs"]
    with Redis.from_url(redis.url) as broker:
        _until(lambda: broker.hlen("unacked") == 0 and broker.llen("default") == 0, "the old messages to be taken")

    tasks = _index_tasks(airflow, dag_id, run["dag_run_id"])
    assert {task["state"] for task in tasks} == {"success"}
    assert {task["try_number"] for task in tasks} == {1, 2}
    for task in tasks:
        log = airflow.log_of(dag_id, run["dag_run_id"], "index", map_index=task["map_index"])
        assert len(_tries(log)) == task["try_number"]


def test_a_cancelled_run_writes_nothing_ten_seconds_later(
    airflow: Airflow, sample_shop: EmbeddedPostgres, brake: Path
) -> None:
    """On both workers, in the middle of batches of 20 seconds; each task stops between two chunks, and says so."""
    name, dag_id = "slow_postgres", "reindex_slow_postgres"
    with sample_shop.database("slow").connect() as connection:
        connection.execute(f"UPDATE {name} SET title = 'new', updated_at = now() + id * interval '1 us'")
    brake.touch()
    run_id = airflow.trigger(dag_id)

    def done() -> int:
        return len(_rows(sample_shop, "search", f"SELECT FROM {name} WHERE title = 'new'"))

    _until(done, "a chunk to be written")
    workers = [task["pid"] for task in _index_tasks(airflow, dag_id, run_id) if task["state"] == "running"]
    assert workers
    cancelled = airflow.rest.call(
        "POST", f"/reindex/api/v1/streams/{name}/runs/{dag_id}/{quote(run_id, safe='')}/cancel", json={}
    )
    assert cancelled == {"cancelled": True}
    began = last_write = time.monotonic()
    before = done()
    while any(psutil.pid_exists(worker) for worker in workers):
        if (now := done()) != before:
            before, last_write = now, time.monotonic()
        time.sleep(0.05)

    assert last_write - began < 10
    assert 0 < done() == before < 400
    said = [airflow.xcom(dag_id, run_id, "index", "reindex_progress", map_index=batch) for batch in range(4)]
    assert "cancelled" in {record["status"] for record in said if record}
    assert "running" not in {record["status"] for record in said if record}
    brake.unlink()
    airflow.wait_for_run(dag_id, airflow.trigger(dag_id), timeout_s=_TIMEOUT_S)
    assert set(_in_postgres(sample_shop)(name).values()) == {"new"}


def _index_tasks(airflow: Airflow, dag_id: str, run_id: str) -> list[dict[str, Any]]:
    return [task for task in airflow.task_instances(dag_id, run_id) if task["task_id"] == "index"]


def _tries(log: str) -> list[list[int]]:
    """The keys that each try has seen, in order. What Airflow does not let start may have begun its log by then."""
    begun = (text for text in log.split("::group::Pre Execute")[1:] if "::endgroup::" in text)
    return [[int(key) for key in re.findall(r"row (\d+)\.", text)] for text in begun]


def _rows(server: EmbeddedPostgres, database: str, query: str) -> list[tuple[Any, ...]]:
    with server.database(database).connect() as connection:
        return sorted(connection.execute(query).fetchall())


def _in_postgres(server: EmbeddedPostgres) -> Callable[[str], dict[int, str]]:
    return lambda index: dict(_rows(server, "search", f"SELECT id, title FROM {index}"))


def _in(engine: SearchEngine) -> Callable[[str], dict[int, str]]:
    def documents(index: str) -> dict[int, str]:
        urllib.request.urlopen(urllib.request.Request(f"{engine.url}/{index}/_refresh", method="POST")).close()
        with urllib.request.urlopen(f"{engine.url}/{index}/_search?size=1000") as answer:
            hits = json.load(answer)["hits"]["hits"]
        return {int(hit["_source"]["id"]): hit["_source"]["title"] for hit in hits}

    return documents


def _until(look: Callable[[], T | None], what: str) -> T:
    deadline = time.monotonic() + _TIMEOUT_S
    pause_s = 0.3
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.3, 1.0)
    return found
