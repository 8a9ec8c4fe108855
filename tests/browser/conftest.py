"""One real Airflow and one real Chromium for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
from person import TIMEOUT_MS, Person, chromium
from playwright.sync_api import expect
from shop import Shop

from airflow_reindex_provider.testing.airflow import Airflow
from airflow_reindex_provider.testing.postgres import EmbeddedPostgres

_HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def apart() -> Iterator[EmbeddedPostgres]:
    """A server for this Airflow alone: that of the worker has the metadata database of the Airflow of other tests, which may
    still run, and of two schedulers on one database each would take the other's tasks."""
    with EmbeddedPostgres(durable=False) as server:
        yield server


@pytest.fixture(scope="module")
def shop(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    source = postgres.create_database("page_shop", conn_id="shop_db")
    target = postgres.create_database("page_search", conn_id="search_db")
    made = Shop(source, target, tmp_path_factory.mktemp("pace") / "products")
    made.fill()
    return made


@pytest.fixture(scope="module")
def airflow(apart: EmbeddedPostgres, shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """With a person `admin`, and one `viewer` who may read."""
    settings = {
        "REINDEX_TEST_PACE": str(shop.pace),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
    }
    env = shop.source.env | shop.target.env | settings
    home = tmp_path_factory.mktemp("airflow")
    with Airflow(home, dag_folders={"shop": _HERE / "dags"}, postgres=apart, env=env) as running:
        for dag_id in ("reindex_products", "rebuild_products", "reindex_reviews", "reindex_articles"):
            running.wait_for_dag(dag_id)
        running.wait_for_run("reindex_articles", running.trigger("reindex_articles"), timeout_s=400)
        yield running


@pytest.fixture(scope="module")
def someone(airflow: Airflow, chromium_path: str) -> Iterator[Callable[..., AbstractContextManager[Person]]]:
    """Opens a tab for somebody new: ``with someone() as person``. Takes the pictures that `make screenshots` asks for."""
    expect.set_options(timeout=TIMEOUT_MS)
    folder = os.environ.get("REINDEX_SCREENSHOTS")
    with chromium(chromium_path) as browser:
        yield partial(browser.person, airflow.url, pictures=Path(folder) if folder else None)
