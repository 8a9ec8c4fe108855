"""What several files here share beyond the fixtures of all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow_task import AirflowTask

from airflow_reindex_provider.testing.postgres import Database
from tests.conformance.shop import ROWS, SHOP, shop_source


@pytest.fixture(scope="session")
def task(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowTask]:
    """A task of a Dag on a metadata database of its own, running for the whole session."""
    with AirflowTask(tmp_path_factory.mktemp("airflow") / "home", migrated) as running:
        yield running


@pytest.fixture
def shop(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """The tables of ``shop.py``, with rows and triggers, in ``database``."""
    with database.connect() as connection:
        connection.execute(SHOP + ROWS)
        shop_source(database).install_tombstones()
        yield connection


@pytest.fixture(scope="class")
def table_of_the_class(request: pytest.FixtureRequest, database_of_the_class: Database) -> Any:
    """That the class makes, for all its tests in turn."""
    return request.cls.make(database_of_the_class)
