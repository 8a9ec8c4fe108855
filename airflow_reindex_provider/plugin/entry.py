"""What Airflow loads by the ``airflow.plugins`` entry point, in every process and before each task.

So nothing is imported here that such a process does not have already: the web framework, the database's models and the rest of
this provider come with the first request that the api-server passes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from airflow.sdk.plugins_manager import AirflowPlugin

from airflow_reindex_provider.plugin.bundle import BUNDLE, MAIN, content_hash

URL_PREFIX = "/reindex"
NAME = "Reindex"
"""In Airflow's menu and on its tabs; the bundle leaves its component in ``globalThis[NAME]``."""
PAGE = "/plugin/reindex"
"""Below Airflow's own address, which makes it from the route of what is in its menu."""
_PLACES = ("nav", "dag", "dag_run", "dashboard")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]


class ServedOnDemand:
    """An ASGI app that is built when it is asked for the first time."""

    def __init__(self) -> None:
        self._app: Callable[[Scope, Receive, Send], Awaitable[None]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            from airflow_reindex_provider.plugin.app import make_app

            self._app = make_app()
        await self._app(scope, receive, send)


class ReindexPlugin(AirflowPlugin):
    name = "reindex"
    fastapi_apps = [{"app": ServedOnDemand(), "url_prefix": URL_PREFIX, "name": NAME}]  # noqa: RUF012, Airflow's form

    @cached_property
    def react_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]  # asked for by the api-server alone
        """One page in several places; none where the package was built without the bundle."""
        main = BUNDLE / MAIN
        if not main.is_file():
            return []
        url = f"{_base_path()}{URL_PREFIX}/static/{MAIN}?v={content_hash(main.read_bytes())}"
        return [
            {
                "name": NAME,
                "bundle_url": url,
                "destination": place,
                "url_route": PAGE.rpartition("/")[2] if place == "nav" else f"reindex-{place.replace('_', '-')}",
                **({"nav_top_level": True} if place == "nav" else {}),
            }
            for place in _PLACES
        ]


def _base_path() -> str:
    """The path below which Airflow is served, without a slash at its end."""
    from airflow.configuration import conf

    return urlsplit(str(conf.get("api", "base_url", fallback=""))).path.rstrip("/")
