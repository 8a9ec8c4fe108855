"""The settings of an Airflow for tests and the demo, as the environment of its processes."""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from airflow_reindex_provider.testing.postgres import EmbeddedPostgres
from airflow_reindex_provider.testing.processes import free_port

_ONCE_S = 3600
"""Dag files do not change here. Parsing them again and again would cost more than all runs."""


def environment(
    *,
    home: Path,
    url: str,
    dag_folders: Mapping[str, Path],
    postgres: EmbeddedPostgres,
    users: str,
    broker_url: str | None,
    more: Mapping[str, str],
) -> dict[str, str]:
    """The calling environment without its `AIRFLOW*` variables, with the settings, with `more`, which may override settings.

    :param users: of the simple auth manager, with their roles; their passwords are in `passwords.json` in the home.
    :param broker_url: of a Redis, for CeleryExecutor; None for LocalExecutor.
    """
    bundles = [
        {
            "name": name,
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(folder), "refresh_interval": _ONCE_S},
        }
        for name, folder in dag_folders.items()
    ]
    settings = {
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "8",
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_FOLDER": str(next(iter(dag_folders.values()))),
        "CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "1",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": users,
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "DATABASE__SQL_ALCHEMY_CONN": postgres.sqlalchemy_url("airflow"),
        "DATABASE__SQL_ALCHEMY_CONN_ASYNC": postgres.sqlalchemy_url("airflow", driver="asyncpg"),
        # With 48 callers and tasks that run, an api-server was seen to stall for a minute, all of its 15 connections (as
        # many as it has by default) idle in transaction.
        "DATABASE__SQL_ALCHEMY_MAX_OVERFLOW": "-1",
        # What overflows is closed after its use, and opening it anew is dear.
        "DATABASE__SQL_ALCHEMY_POOL_SIZE": "32",
        # The server is on this machine, and ends after Airflow: no connection needs to be tried before it is used.
        "DATABASE__SQL_ALCHEMY_POOL_PRE_PING": "False",
        "API__BASE_URL": url,
        "API__SECRET_KEY": secrets.token_hex(16),
        "API__WORKERS": "1",
        "API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": str(_ONCE_S),
        "DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
        "LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    }
    if broker_url is not None:
        settings |= {
            "CORE__EXECUTOR": "CeleryExecutor",
            "CELERY__BROKER_URL": broker_url,
            "CELERY__WORKER_CONCURRENCY": "4",
        }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return {
        **inherited,
        "AIRFLOW_HOME": str(home),
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "PYTHONUNBUFFERED": "1",
        **{f"AIRFLOW__{name}": value for name, value in settings.items()},
        **more,
    }
