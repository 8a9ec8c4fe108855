"""The app that Airflow's api-server mounts at ``/reindex``."""

from __future__ import annotations

from typing import Any

from airflow.configuration import conf
from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse

import airflow_reindex_provider
from airflow_reindex_provider.plugin import acting, reading, static
from airflow_reindex_provider.plugin.problems import say_problems
from airflow_reindex_provider.plugin.rights import PersonDep

VERSION = "v1"
_SAYS = (
    "Which reindexing streams there are, how they are, and what can be done to them. You see and do what your rights in"
    " Airflow allow. Errors are problems as in RFC 9457: `detail` says what to do."
)


def make_app() -> FastAPI:
    # Its own pages would be for anybody: the ones below want a session.
    app = FastAPI(
        title="Reindex",
        version=airflow_reindex_provider.__version__,
        description=_SAYS,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    api = APIRouter(prefix=f"/api/{VERSION}")
    api.include_router(reading.router)
    api.include_router(acting.router)
    api.include_router(_described(app))
    app.include_router(api)
    app.include_router(static.router)
    say_problems(app)
    return app


def _described(app: FastAPI) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/openapi.json")
    def openapi(person: PersonDep, request: Request) -> JSONResponse:
        schema: dict[str, Any] = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            servers=[{"url": request.scope.get("root_path", "")}],
        )
        return JSONResponse(schema)

    if conf.getboolean("api", "enable_swagger_ui"):

        @router.get("/docs")
        def docs(person: PersonDep) -> HTMLResponse:
            return get_swagger_ui_html(openapi_url="openapi.json", title=f"{app.title} {VERSION}")

    return router
