"""Airflow's REST API, as tests and the demo call it."""

from __future__ import annotations

from typing import Any

import httpx


class RestError(RuntimeError):
    """Airflow's REST API has refused a call; `status` is the HTTP status."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class Rest:
    """Airflow's REST API (`/api/v2`), signed in. Paths are relative to it; answers are decoded JSON.

    :raises RestError: for every answer from 400 upwards, with the body of the answer.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        # Without the proxies of the environment: the server is on the loopback interface.
        self._client = httpx.Client(base_url=url, timeout=30, trust_env=False)
        token = self._call("POST", "/auth/token", json={"username": user, "password": password})["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **params: Any) -> Any:
        return self._call("GET", f"/api/v2{path}", params=params)

    def find(self, path: str, **params: Any) -> Any | None:
        """As `get`; None where the API answers 404."""
        try:
            return self.get(path, **params)
        except RestError as error:
            if error.status != 404:
                raise
            return None

    def post(self, path: str, body: Any) -> Any:
        return self._call("POST", f"/api/v2{path}", json=body)

    def patch(self, path: str, body: Any) -> Any:
        return self._call("PATCH", f"/api/v2{path}", json=body)

    def delete(self, path: str) -> None:
        self._call("DELETE", f"/api/v2{path}")

    def close(self) -> None:
        self._client.close()

    def _call(self, method: str, path: str, **options: Any) -> Any:
        response = self._client.request(method, path, **options)
        if response.status_code >= 400:
            raise RestError(
                f"{method} {path} answered {response.status_code}: {response.text}", status=response.status_code
            )
        return response.json() if response.content else None
