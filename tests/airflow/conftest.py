"""One real Airflow for all tests of this folder, on the repository's example Dags and those in `dags/` here.

Most of these tests wait for Airflow most of the time. Those marked `overlaps` run at the same time, each in a thread, as
soon as pytest comes to the first of them. Each has a stream of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from urllib.parse import quote

import pytest
from command_line import CommandLine, command_line
from otlp_receiver import OtlpReceiver
from statsd_listener import StatsdListener
from streams_under_test import StreamUnderTest

from airflow_reindex_provider.testing.airflow import Airflow
from airflow_reindex_provider.testing.postgres import Database, EmbeddedPostgres
from airflow_reindex_provider.testing.search_engine import SearchEngine

_HERE = Path(__file__).parent
_AT_ONCE = 16

_outcomes: dict[str, Future[None]] = {}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "overlaps: runs beside others of its kind; takes session-wide fixtures alone")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if pyfuncitem.get_closest_marker("overlaps") is None:
        return None
    if pyfuncitem.nodeid not in _outcomes:
        _run_all(pyfuncitem)
    _outcomes[pyfuncitem.nodeid].result()
    return True


def _run_all(first: pytest.Function) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for item in first.session.items:
            if isinstance(item, pytest.Function) and item.get_closest_marker("overlaps"):
                values = dict(item.callspec.params) if hasattr(item, "callspec") else {}
                for name in item._fixtureinfo.argnames:
                    if name not in values:
                        values[name] = first._request.getfixturevalue(name)
                _outcomes[item.nodeid] = pool.submit(item.obj, **values)
        # All of them, so that a test that is not to be disturbed has Airflow for itself.
        wait(_outcomes.values())


@pytest.fixture(scope="session")
def shop(postgres: EmbeddedPostgres) -> Database:
    """The source of the Dags: connection `shop_db`. Shared by all tests: each uses tables of its own."""
    return postgres.create_database("shop", conn_id="shop_db")


@pytest.fixture(scope="session")
def late(postgres: EmbeddedPostgres) -> Database:
    """A source apart, for a test that leaves a transaction open there: this holds back all streams of a database."""
    return postgres.create_database("late", conn_id="late_db")


@pytest.fixture(scope="session")
def held(postgres: EmbeddedPostgres) -> Database:
    """The same, for another one: connection `held_db`."""
    return postgres.create_database("held", conn_id="held_db")


@pytest.fixture(scope="session")
def stalled(postgres: EmbeddedPostgres) -> Database:
    """The same, for another one: connection `stalled_db`."""
    return postgres.create_database("stalled", conn_id="stalled_db")


@pytest.fixture(scope="session")
def search(postgres: EmbeddedPostgres) -> Database:
    """The target of the Dags: connection `search_db`. Shared by all tests: each uses names of its own."""
    return postgres.create_database("search", conn_id="search_db")


@pytest.fixture(scope="session")
def shipments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SQLite file that the connection `shipments_db` names."""
    return tmp_path_factory.mktemp("shipments") / "shipments.db"


@pytest.fixture(scope="session")
def brakes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the transforms of the Dags look into: see `dags/streams_for_tests.py`."""
    return tmp_path_factory.mktemp("brakes")


@pytest.fixture(scope="session")
def metrics() -> Iterator[StatsdListener]:
    """What Airflow and its tasks send to StatsD, with their tags as InfluxDB writes them."""
    with StatsdListener() as listener:
        yield listener


@pytest.fixture(scope="session")
def traces() -> Iterator[OtlpReceiver]:
    """The spans of Airflow and its tasks."""
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def lineage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which OpenLineage's file transport writes the events of the Dags that have it enabled."""
    return tmp_path_factory.mktemp("lineage")


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a LanceDB database."""
    return tmp_path_factory.mktemp("lake")


@pytest.fixture(scope="session")
def airflow(
    request: pytest.FixtureRequest,
    postgres: EmbeddedPostgres,
    shop: Database,
    late: Database,
    held: Database,
    stalled: Database,
    search: Database,
    shipments: Path,
    lake: Path,
    brakes: Path,
    metrics: StatsdListener,
    traces: OtlpReceiver,
    lineage: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Airflow]:
    """A running Airflow; starting it takes half a minute. Its logs stay in pytest's temporary folder."""
    settings = {
        "REINDEX_TEST_BRAKES": str(brakes),
        "AIRFLOW_CONN_SHIPMENTS_DB": f"sqlite://{shipments}",
        "AIRFLOW_CONN_LAKE": f"generic://{quote(str(lake), safe='')}",
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
        "AIRFLOW__METRICS__STATSD_PORT": str(metrics.port),
        "AIRFLOW__TRACES__OTEL_ON": "True",
        "OTEL_TRACES_EXPORTER": "otlp_proto_http",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": traces.endpoint,
        # Where many tests share few processors, a round of the scheduler's own may take more than its usual 30 seconds.
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "180",
        # A file for each event.
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps({"type": "file", "log_file_path": str(lineage / "event")}),
        "AIRFLOW__OPENLINEAGE__SELECTIVE_ENABLE": "True",
    }
    engines = {f"AIRFLOW_CONN_{name.upper()}": _engine_uri(request, name) for name in ("opensearch", "elasticsearch")}
    settings["AIRFLOW_CONN_WEAVIATE"] = request.getfixturevalue("weaviate").connection_uri()
    with Airflow(
        tmp_path_factory.mktemp("airflow"),
        dag_folders={"examples": _HERE.parents[1] / "dags", "tests": _HERE / "dags"},
        postgres=postgres,
        env=shop.env | late.env | held.env | stalled.env | search.env | settings | engines,
    ) as running:
        yield running


@pytest.fixture(scope="session")
def cli(airflow: Airflow) -> Iterator[CommandLine]:
    """`airflow ...`, in this Airflow."""
    with command_line(airflow.environment) as ready:
        yield ready


def _engine_uri(request: pytest.FixtureRequest, name: str) -> str:
    """Of a real engine where one can be had and some test of this run asks for it; only these are skipped where not."""
    nowhere = f"{name}://127.0.0.1:9"
    if not any(name in item.fixturenames for item in request.session.items if isinstance(item, pytest.Function)):
        return nowhere
    try:
        engine: SearchEngine = request.getfixturevalue(name)
    except pytest.skip.Exception:
        return nowhere
    return engine.connection_uri()


@pytest.fixture(scope="session")
def stream(
    airflow: Airflow, shop: Database, search: Database, brakes: Path, cli: CommandLine
) -> Callable[..., StreamUnderTest]:
    """Makes the table of a stream of `dags/`, and what its test needs of it: `stream("week")`."""

    def make(name: str, *, source: Database = shop, dag_id: str | None = None, group: str = "") -> StreamUnderTest:
        made = StreamUnderTest(name, dag_id or f"reindex_{name}", airflow, source, search, brakes / name, group, cli)
        made.create_table()
        return made

    return make
