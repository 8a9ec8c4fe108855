"""Airflow's own api-server in the test's process, with our plugin loaded by its entry point; and an auth manager that can be
told what to allow whom."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

API = "/reindex/api/v1"
Rule = Callable[[str, str, str | None], bool]


class ToldWhatToAllow(SimpleAuthManager):
    """What roles have, less what a rule forbids to a user: by method, entity (``DAG``, ``XCOM``, ``RUN``, ``HITL_DETAIL``,
    ``VARIABLE``) and id.

    :ivar questions: how often it was asked for one answer, and not for many at once."""

    rules: ClassVar[dict[str, Rule]] = {}
    questions: ClassVar[list[tuple[str, str, str | None]]] = []

    def is_authorized_dag(self, *, method: Any, user: Any, access_entity: Any = None, details: Any = None) -> bool:
        entity = access_entity.name if access_entity else "DAG"
        allowed = super().is_authorized_dag(method=method, user=user, access_entity=access_entity, details=details)
        return allowed and self._rule(user, str(method), entity, details and details.id)

    def is_authorized_variable(self, *, method: Any, user: Any, details: Any = None) -> bool:
        allowed = super().is_authorized_variable(method=method, user=user, details=details)
        return allowed and self._rule(user, str(method), "VARIABLE", details and details.key)

    def _rule(self, user: Any, method: str, entity: str, id: str | None) -> bool:
        self.questions.append((method, entity, id))
        return self.rules.get(user.username, lambda *asked: True)(method, entity, id)


class Server:
    """:ivar app: Airflow's, with ours at ``/reindex``."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def client(self, name: str | None = None, role: str = "ADMIN", *, allow: Rule | None = None, **options: Any) -> Any:
        """Signed in by the cookie that Airflow's UI has, as a browser sends it. :param name: None is nobody."""
        from airflow.api_fastapi.app import get_auth_manager
        from fastapi.testclient import TestClient

        client = TestClient(self.app, base_url="http://airflow.test", raise_server_exceptions=False, **options)
        if name is not None:
            if allow is not None:
                ToldWhatToAllow.rules[name] = allow
            token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=name, role=role))
            client.cookies.set("_token", token)
        return client


@contextmanager
def serving() -> Iterator[Server]:
    """On the metadata database of this process."""
    from airflow.api_fastapi.app import create_app, purge_cached_app

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "AIRFLOW__CORE__AUTH_MANAGER", f"{__name__}.{ToldWhatToAllow.__name__}")
        patch.setitem(os.environ, "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "admin:admin")
        yield Server(create_app(apps="core"))
        purge_cached_app()


@pytest.fixture(scope="session")
def api_server(migrated: Path) -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(api_server: Server, metadata: Any) -> Iterator[Server]:
    yield api_server
    ToldWhatToAllow.rules.clear()
    ToldWhatToAllow.questions.clear()
