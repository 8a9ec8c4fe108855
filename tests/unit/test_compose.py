"""docker-compose.yaml is what it says, as far as that shows without Docker: its sample data run on a real Postgres."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest
import yaml
from jsonschema import Draft202012Validator

from airflow_reindex_provider import ReindexDags, Stream
from airflow_reindex_provider.core.windows import incremental_window
from airflow_reindex_provider.testing import weaviate_server
from airflow_reindex_provider.testing.engine_releases import DISTRIBUTIONS
from airflow_reindex_provider.testing.mariadb import InstalledMariaDB
from airflow_reindex_provider.testing.postgres import EmbeddedPostgres
from airflow_reindex_provider.testing.runs import Runner

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
AIRFLOW = {name: service for name, service in SERVICES.items() if "build" in service}
ENVIRONMENT: dict[str, str] = COMPOSE["x-airflow"]["environment"]
EXAMPLES = [
    ("example_reindex", "products"),
    ("example_reindex_operators", "orders"),
    ("example_reindex_transform", "customers"),
    ("example_reindex_rebuild", "brands"),
    ("example_reindex_sweep", "reviews"),
    ("example_reindex_file", "suppliers"),
    ("example_reindex_file", "depots"),
]
LAKE = "AIRFLOW_CONN_LAKE"
CELERY_APP = "airflow.providers.celery.executors.celery_executor.app"
CONNECTIONS = {
    "AIRFLOW_CONN_SHOP_DB": ("postgres", "shop", None),
    "AIRFLOW_CONN_SHIPMENTS_DB": ("postgres", "shop", None),
    "AIRFLOW_CONN_PARCELS_DB": ("mysql", "parcels", None),
    "AIRFLOW_CONN_SEARCH_DB": ("postgres", "shop", None),
    "AIRFLOW_CONN_OPENSEARCH": ("opensearch", "opensearch", 9200),
    "AIRFLOW_CONN_ELASTICSEARCH": ("elasticsearch", "elasticsearch", 9200),
    "AIRFLOW_CONN_WEAVIATE": ("weaviate", "weaviate", 8080),
}
_DURATION = re.compile(r"(\d+(ms|s|m|h))+")


def errors_of(compose: dict[str, Any]) -> list[str]:
    """What the schema of the Compose specification finds wrong."""
    schema = json.loads((ROOT / "tests" / "vendored" / "compose-spec.json").read_text())
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(compose)]


def test_the_compose_specification_accepts_it() -> None:
    """Its JSON schema finds nothing wrong; it would find a misspelt key, and a value of another kind."""
    assert errors_of(COMPOSE) == []
    for wrong in ({"healthchek": {}}, {"ports": "8080"}, {"deploy": {"replica": 2}}, {"restart": True}):
        assert errors_of({"services": {"worker": {"image": "airflow", **wrong}}}) != []


def test_durations_are_durations() -> None:
    """The schema takes any text for one."""
    for name, service in SERVICES.items():
        given = [service.get("healthcheck", {}).get(key) for key in ("interval", "timeout", "start_period")]
        for value in (*given, service.get("stop_grace_period")):
            assert value is None or _DURATION.fullmatch(value), name


def test_every_component_of_airflow_is_there() -> None:
    """One service a component, all of one image, whose name is the command it runs."""
    commands = {name: service["command"] for name, service in AIRFLOW.items()}
    components = ("api-server", "scheduler", "dag-processor", "triggerer")
    assert commands == {
        "airflow-init": ["db", "migrate"],
        "worker": ["celery", "worker"],
        **{name: [name] for name in components},
    }
    assert ENVIRONMENT["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert SERVICES["worker"]["deploy"] == {"replicas": 2}
    assert len({service["image"] for service in AIRFLOW.values()}) == 1


def test_every_service_is_watched_or_one_shot() -> None:
    """What others wait for as completed does not restart and needs no health check; all the rest has one."""
    one_shot = _waited_for("service_completed_successfully")
    assert one_shot == {"airflow-init"}
    for name, service in SERVICES.items():
        if name in one_shot:
            assert service["restart"] == "no"
        else:
            assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
            assert service["restart"] == "unless-stopped", name


def test_dependencies_and_volumes_exist() -> None:
    """Whoever waits for a service waits for one that is here, and can become healthy."""
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", {})) <= set(SERVICES), name
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (ROOT / source).exists(), f"{name} mounts {source}"
            else:
                assert source in COMPOSE["volumes"], f"{name} mounts {source}"
    for name in _waited_for("service_healthy"):
        assert "healthcheck" in SERVICES[name]


def test_ports_are_on_loopback() -> None:
    """Nobody else on the network reaches a server whose password is in a public file."""
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) == 5
    assert len({port.split(":")[1] for port in ports}) == len(ports)
    for port in ports:
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)


def test_settings_are_options_of_airflow() -> None:
    """Every AIRFLOW__SECTION__KEY is an option that Airflow knows; a misspelt one would be ignored in silence."""
    from airflow.configuration import conf

    known = conf.configuration_description
    for name in ENVIRONMENT:
        if name.startswith("AIRFLOW__"):
            section, key = name.removeprefix("AIRFLOW__").lower().split("__")
            assert key in known.get(section, {}).get("options", {}), name
        else:
            assert name in {*CONNECTIONS, LAKE}


def test_commands_are_commands_of_airflow() -> None:
    """What the services run and check with is accepted by Airflow's command line."""
    checks = [s["healthcheck"]["test"] for s in AIRFLOW.values() if "healthcheck" in s]
    shell = [check[1] for check in checks if check[0] == "CMD-SHELL"]
    celery = [command for command in shell if command.startswith("celery ")]
    jobs = [command.removeprefix("airflow ").split() for command in shell if command not in celery]
    assert (len(celery), len(jobs)) == (1, 2)
    assert celery[0].startswith(f"celery --app {CELERY_APP} inspect ping ")

    # In a process of its own: which commands there are depends on the executor when Airflow is imported.
    code = (
        "import json, sys; from airflow.cli.cli_parser import get_parser; parser = get_parser();"
        "[parser.parse_args(command) for command in json.loads(sys.argv[1])]"
    )
    commands = json.dumps([*(service["command"] for service in AIRFLOW.values()), *jobs])
    env = {**os.environ, "AIRFLOW__CORE__EXECUTOR": ENVIRONMENT["AIRFLOW__CORE__EXECUTOR"]}
    subprocess.run([sys.executable, "-c", code, commands], env=env, check=True)


def test_addresses_name_services() -> None:
    """Each connection goes to a service, by the port that it has inside, and with the role that the service is given."""
    for name, expected in CONNECTIONS.items():
        url = urlsplit(ENVIRONMENT[name])
        assert (url.scheme, url.hostname, url.port) == expected
        assert expected[1] in SERVICES
    # A folder, which every task finds on one volume.
    folder = unquote(urlsplit(ENVIRONMENT[LAKE]).hostname or "")
    assert f"lake:{folder}" in COMPOSE["x-airflow"]["volumes"]
    assert f"RUN mkdir {folder}\n" in COMPOSE["x-airflow"]["build"]["dockerfile_inline"]
    broker = urlsplit(ENVIRONMENT["AIRFLOW__CELERY__BROKER_URL"])
    assert (broker.scheme, broker.hostname, broker.port) == ("redis", "redis", 6379)
    results = ENVIRONMENT["AIRFLOW__CELERY__RESULT_BACKEND"]
    assert results == f"db+{ENVIRONMENT['AIRFLOW__DATABASE__SQL_ALCHEMY_CONN']}"
    metadata = urlsplit(ENVIRONMENT["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    given = SERVICES[str(metadata.hostname)]["environment"]
    assert (metadata.username, metadata.password, metadata.path) == (
        given["POSTGRES_USER"],
        given["POSTGRES_PASSWORD"],
        f"/{given['POSTGRES_DB']}",
    )
    execution = urlsplit(ENVIRONMENT["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"])
    assert SERVICES["api-server"]["ports"][0].endswith(f":{execution.port}")
    assert (execution.hostname, execution.path) == ("api-server", "/execution/")


def test_engines_are_those_of_the_tests() -> None:
    """The images have the newest releases that the conformance suite runs on."""
    for name, distribution in DISTRIBUTIONS.items():
        assert SERVICES[name]["image"] == f"{distribution.image}:{distribution.releases[0].version}"
    assert SERVICES["weaviate"]["image"] == f"semitechnologies/weaviate:{weaviate_server.VERSION}"


def test_image_is_of_the_locked_airflow() -> None:
    """The image has the version that the lock file pins, pip may not change it, and all that is copied exists."""
    recipe = COMPOSE["x-airflow"]["build"]["dockerfile_inline"]
    locked = re.search(r"^apache-airflow==(\S+)", (ROOT / "requirements.lock").read_text(), re.M)
    assert locked
    assert f"FROM apache/airflow:{locked[1]}\n" in recipe
    assert f"apache-airflow=={locked[1]} " in recipe
    copied = [word for line in re.findall(r"^COPY --chown=\S+ (.+) \S+$", recipe, re.M) for word in line.split()]
    assert copied == ["pyproject.toml", "README.md", "LICENSE", "airflow_reindex_provider", "dags"]
    assert all((ROOT / name).exists() for name in copied)
    assert "$" not in recipe, "Docker Compose would take it for a variable"


@pytest.fixture
def connections(sample_shop: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connections of the services, roles included, on the socket of the embedded server."""
    for name, (scheme, _, _) in CONNECTIONS.items():
        if scheme != "postgres":
            continue
        url = urlsplit(ENVIRONMENT[name])
        socket = quote(str(sample_shop.socket_dir), safe="")
        monkeypatch.setenv(name, f"postgres://{url.username}:{url.password}@{socket}{url.path}")


@pytest.fixture
def parcels(mariadb: InstalledMariaDB, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The sample data of the MariaDB, read with the role of its connection."""
    database = mariadb.create_database("parcels", conn_id="parcels_db")
    database.execute(*(ROOT / "docs" / "sample-parcels.sql").read_text().rstrip().removesuffix(";").split(";\n"))
    url = urlsplit(ENVIRONMENT["AIRFLOW_CONN_PARCELS_DB"])
    as_reader = replace(database, user=str(url.username), password=str(url.password))
    monkeypatch.setenv("AIRFLOW_CONN_PARCELS_DB", as_reader.uri)
    yield
    database.execute(f"DROP USER {url.username}@'%'")
    mariadb.drop_database("parcels")


def _import(module: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "dags"))
    sys.modules.pop(module, None)
    return importlib.import_module(module)


@pytest.mark.parametrize("file", sorted((ROOT / "dags").glob("*.py")), ids=lambda file: file.stem)
@pytest.mark.usefixtures("connections")
def test_example_dags_have_what_they_read(
    file: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Every example Dag names connections that are given, and tables that the sample data make and fill."""
    if file.stem == "example_reindex_mysql":
        request.getfixturevalue("parcels")
    named = vars(_import(file.stem, monkeypatch)).values()
    streams = [value for value in named if isinstance(value, Stream)]
    streams += [stream for value in named if isinstance(value, ReindexDags) for stream in value.streams.values()]
    assert streams
    for stream in streams:
        for part in (stream.source, stream.target, stream.checkpoint):
            conn_id = getattr(part, "conn_id", None)
            assert conn_id is None or f"AIRFLOW_CONN_{conn_id.upper()}" in ENVIRONMENT
        with stream.source.open() as session:
            window = incremental_window(session.survey(), None, where="")
            assert window is not None
            assert session.slices(window, batch_rows=1000, max_slices=64).rows > 100


def _stream(module: str, name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    found = _import(module, monkeypatch)
    return found.made.streams[name] if hasattr(found, "made") else getattr(found, name)


@pytest.mark.parametrize(("module", "name"), EXAMPLES)
@pytest.mark.usefixtures("connections")
def test_example_dags_index_the_sample_data(
    module: str, name: str, sample_shop: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every stream of the example Dags accepts the sample tables with the roles given, and indexes all that belongs."""
    stream = _stream(module, name, monkeypatch)
    runner = Runner(
        source=stream.source,
        target=replace(stream.target, index=f"{stream.target.index}_checked"),
        stream=stream.name,
        transform=stream.transform,
        sizes=stream.sizes,
    )
    plan = runner.plan()
    assert plan.warnings == ()
    outcome = runner.settle(plan, [runner.index(batch) for batch in plan.batches])

    assert outcome.complete
    assert outcome.counts.failures == 0
    expected = {
        "products": "SELECT count(*) FROM products WHERE deleted_at IS NULL",
        "orders": "SELECT count(*) FROM order_lines",
        "customers": "SELECT count(*) FROM customers WHERE consent AND name <> ''",
        "brands": "SELECT count(*) FROM brands",
        "reviews": "SELECT count(*) FROM reviews",
        "suppliers": "SELECT count(*) FROM suppliers WHERE deleted_at IS NULL",
        "depots": "SELECT count(*) FROM depots",
    }[name]
    with sample_shop.database("shop").connect() as shop, sample_shop.database("search").connect() as search:
        (there,) = shop.execute(expected).fetchone() or (0,)
        (here,) = search.execute(f"SELECT count(*) FROM {stream.target.index}_checked").fetchone() or (0,)
    assert here == there > 100


@pytest.mark.usefixtures("connections")
def test_sources_of_the_documentation_read_the_sample_data() -> None:
    """Table and query of docs/postgres-source.md are accepted; the query's role sees what it joins."""
    page = (ROOT / "docs" / "postgres-source.md").read_text()
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    names: dict[str, Any] = {}
    exec(compile(snippet, "docs/postgres-source.md", "exec"), names)
    for source, rows in ((names["products"], 2000), (names["lines"], 3750)):
        with source.open() as session:
            survey = session.survey()
            window = incremental_window(survey, None, where="")
            assert window is not None
            assert session.slices(window, batch_rows=1000, max_slices=64).rows == rows


@pytest.mark.usefixtures("connections")
def test_checkpoint_table_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The role of the search database may make the table that one example keeps its checkpoint in."""
    store = _stream("example_reindex_operators", "orders", monkeypatch).checkpoint
    assert store.save(store.load("orders", "generation")).version == 1
    store.reset("orders", "generation")


def test_sample_rows_are_stamped_on_change(sample_shop: EmbeddedPostgres) -> None:
    """A change by hand that says nothing of updated_at is still a change that the next run finds."""
    with sample_shop.database("shop").connect() as shop:
        for table, key in (
            ("products", "id = 7"),
            ("customers", "id = 7"),
            ("order_lines", "order_id = 7 AND line = 1"),
        ):
            column = {"products": "price", "customers": "consent", "order_lines": "quantity"}[table]
            row = shop.execute(
                f"UPDATE {table} SET {column} = {column} WHERE {key} RETURNING updated_at = now()"
            ).fetchone()
            assert row == (True,), table


def _waited_for(condition: str) -> set[str]:
    return {
        name
        for service in SERVICES.values()
        for name, how in service.get("depends_on", {}).items()
        if how["condition"] == condition
    }
