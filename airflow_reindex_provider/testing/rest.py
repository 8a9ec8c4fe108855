"""Airflow's REST API, as tests and the demo call it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

_TIMEOUT_S = 30
_READS = 3


class RestError(RuntimeError):
    """Airflow's REST API has refused a call; `status` is the HTTP status."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class NoAnswerError(RuntimeError):
    """Airflow's REST API has not answered in time."""


class Rest:
    """Airflow's REST API (`/api/v2`), signed in. Paths are relative to it; answers are decoded JSON.

    A call waits half a minute for its answer. One that only reads is then made again, twice, with a warning.

    :param on_silence: what is known of an api-server that does not answer, for the error.
    :raises RestError: for every answer from 400 upwards, with the body of the answer.
    :raises NoAnswerError: there was none in time.
    """

    def __init__(self, url: str, user: str, password: str, *, on_silence: Callable[[], str] = str) -> None:
        # Without the proxies of the environment: the server is on the loopback interface.
        self._client = httpx.Client(base_url=url, timeout=_TIMEOUT_S, trust_env=False)
        self._on_silence = on_silence
        token = self.call("POST", "/auth/token", json={"username": user, "password": password})["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **params: Any) -> Any:
        return self.call("GET", f"/api/v2{path}", params=params)

    def find(self, path: str, **params: Any) -> Any | None:
        """As `get`; None where the API answers 404."""
        try:
            return self.get(path, **params)
        except RestError as error:
            if error.status != 404:
                raise
            return None

    def post(self, path: str, body: Any) -> Any:
        return self.call("POST", f"/api/v2{path}", json=body)

    def patch(self, path: str, body: Any) -> Any:
        return self.call("PATCH", f"/api/v2{path}", json=body)

    def delete(self, path: str) -> None:
        self.call("DELETE", f"/api/v2{path}")

    def close(self) -> None:
        self._client.close()

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Of any path of the server, `/reindex/...` say. :param options: of httpx."""
        attempts = _READS if method == "GET" else 1
        retrying = Retrying(
            retry=retry_if_exception_type(httpx.TimeoutException),
            stop=stop_after_attempt(attempts),
            before_sleep=_warn,
            reraise=True,
        )
        try:
            response: httpx.Response = retrying(self._client.request, method, path, **options)
        except httpx.TimeoutException as error:
            raise NoAnswerError(
                f"{method} {path}: {type(error).__name__} after {_TIMEOUT_S} s, {attempts} times. {self._on_silence()}"
            ) from error
        if response.status_code >= 400:
            raise RestError(
                f"{method} {path} answered {response.status_code}: {response.text}", status=response.status_code
            )
        return response.json() if response.content else None


def _warn(state: RetryCallState) -> None:
    warnings.warn(
        f"{' '.join(state.args)} had no answer within {_TIMEOUT_S} s; once more", RuntimeWarning, stacklevel=2
    )
