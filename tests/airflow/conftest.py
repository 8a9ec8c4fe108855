"""One real Airflow for all tests of this folder, on the repository's example Dags and those in `dags/` here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_reindex_provider.testing.airflow import Airflow
from airflow_reindex_provider.testing.postgres import Database, EmbeddedPostgres

_HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def shop(postgres: EmbeddedPostgres) -> Database:
    """The source of the Dags: connection `shop_db`. Shared by all tests: each uses tables of its own."""
    return postgres.create_database("shop", conn_id="shop_db")


@pytest.fixture(scope="session")
def search(postgres: EmbeddedPostgres) -> Database:
    """The target of the Dags: connection `search_db`. Shared by all tests: each uses names of its own."""
    return postgres.create_database("search", conn_id="search_db")


@pytest.fixture(scope="session")
def airflow(
    postgres: EmbeddedPostgres, shop: Database, search: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Airflow]:
    """A running Airflow; starting it takes half a minute. Its logs stay in pytest's temporary folder."""
    with Airflow(
        tmp_path_factory.mktemp("airflow"),
        dag_folders={"examples": _HERE.parents[1] / "dags", "tests": _HERE / "dags"},
        postgres=postgres,
        env=shop.env | search.env,
    ) as running:
        yield running
