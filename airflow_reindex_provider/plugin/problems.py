"""Errors as RFC 9457 has them: what is wrong, and in ``detail`` what to do about it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from airflow_reindex_provider.control.acts import UnknownArgumentsError
from airflow_reindex_provider.control.steering import (
    ConfRefusedError,
    DagPausedError,
    NotAskedError,
    NotCarriedError,
    RunConflictError,
    SteeringError,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
_URN = "urn:airflow-reindex-provider:problem:"
_SAYS = {
    401: "Sign in to Airflow, or send the header 'Authorization: Bearer <token>': POST /auth/token gives one.",
    404: "There is nothing at this address: /reindex/api/v1/docs shows the addresses.",
    405: "This address does not take the method: /reindex/api/v1/docs shows what it takes.",
}


class Problem(Exception):
    """:param kind: a word for programs. :param more: further members, such as the run that is in the way."""

    def __init__(self, status: int, kind: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.more = more


def problem_response(
    status: int, kind: str | None, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
) -> JSONResponse:
    title = HTTPStatus(status).phrase
    body = {"type": _URN + kind if kind else "about:blank", "title": title, "status": status, "detail": detail, **more}
    kept = {"Cache-Control": "no-store", **(headers or {})}
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=kept)


def say_problems(app: FastAPI) -> None:
    """Every error of the app is a problem from now on, those of the framework too."""
    app.add_exception_handler(Problem, _ours)
    app.add_exception_handler(SteeringError, _steering)
    app.add_exception_handler(UnknownArgumentsError, _arguments)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(OperationalError, _database)
    app.add_middleware(_Unforeseen)


def _ours(request: Request, error: Any) -> JSONResponse:
    return problem_response(error.status, error.kind, error.detail, **error.more)


def _steering(request: Request, error: Any) -> JSONResponse:
    if isinstance(error, RunConflictError):
        return problem_response(409, "run-under-way", str(error), dag_id=error.dag_id, run_id=error.run_id)
    if isinstance(error, DagPausedError):
        return problem_response(409, "dag-does-not-run", str(error))
    if isinstance(error, NotCarriedError):
        return problem_response(409, "no-dag-does-this", str(error))
    if isinstance(error, NotAskedError):
        return problem_response(403, "forbidden", str(error))
    if isinstance(error, ConfRefusedError):
        return problem_response(422, "arguments", str(error))
    return problem_response(409, "not-now", str(error))


def _arguments(request: Request, error: Any) -> JSONResponse:
    return problem_response(422, "arguments", str(error))


def _invalid(request: Request, error: Any) -> JSONResponse:
    wrong = [f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors()]
    return problem_response(422, "parameters", f"Parameters of the request are wrong. {'; '.join(wrong)}.")


def _http(request: Request, error: Any) -> JSONResponse:
    status = int(error.status_code)
    # Airflow calls a token that it cannot read forbidden; whoever sent it has not signed in.
    if status == 403 and error.detail == "Invalid JWT token":
        status = 401
    headers = dict(error.headers or {})
    if status == 401:
        headers.setdefault("WWW-Authenticate", "Bearer")
    detail = f"{error.detail}. {_SAYS[status]}" if status in _SAYS else str(error.detail)
    return problem_response(status, None, detail, headers=headers)


def _database(request: Request, error: Any) -> JSONResponse:
    _log.warning("Airflow's database did not answer %s %s", request.method, request.url.path, exc_info=error)
    detail = "Airflow's database did not answer, or was busy; nothing was changed. Try again in a moment."
    return problem_response(503, "database", detail, headers={"Retry-After": "2"})


class _Unforeseen:
    """An error that nobody foresaw: its text goes into the api-server's log and not to the caller, who is told where to look."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception:
            if scope["type"] != "http" or begun:
                raise
            mark = secrets.token_hex(4)
            _log.exception("Error %s in %s %s", mark, scope["method"], scope["path"])
            detail = f"The request failed. Airflow's api-server has logged why: look for 'Error {mark}' in its log."
            await problem_response(500, "unforeseen", detail, error_id=mark)(scope, receive, send)
