"""Fixtures for every test: one real Postgres a session, a database of its own a test."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.testing.postgres import EmbeddedPostgres

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Database:
    """An empty database and the Airflow connection (in the environment) that reaches it."""

    name: str
    dsn: str
    conn_id: str

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """A psycopg connection in autocommit mode; `options` go to `psycopg.connect`."""
        return psycopg.connect(self.dsn, autocommit=True, **options)


def unavailable(service: str, error: Exception) -> None:
    """Skip the test for want of a service, or fail where REINDEX_REQUIRE_SERVICES=1 says that all must be there."""
    if os.environ.get("REINDEX_REQUIRE_SERVICES") == "1":
        raise error
    pytest.skip(f"{service} cannot be started here: {error}")


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
    """A fresh database, dropped after the test together with the sessions left in it."""
    name = f"test_{next(_numbers)}"
    postgres.create_database(name)
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", postgres.uri(name))
    yield Database(name=name, dsn=postgres.dsn(name), conn_id=name)
    postgres.drop_database(name)
