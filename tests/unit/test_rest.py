"""How the harness takes an api-server that does not answer; the server is a stand-in that can keep silent."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from airflow_reindex_provider.testing import rest as rest_module
from airflow_reindex_provider.testing.rest import NoAnswerError, Rest, RestError

pytestmark = pytest.mark.versions


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls: Counter[str] = Counter()
        self.silent: Counter[str] = Counter()
        """How many calls of each path are to get no answer."""
        self.over = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.calls[self.path] += 1
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.calls[self.path] <= self.server.silent[self.path]:
            self.server.over.wait()
            return
        self.send_response(404 if self.path.endswith("missing") else 200)
        self.end_headers()
        self.wfile.write(json.dumps({"access_token": "token", "path": self.path}).encode())

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Nobody's news."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.over.set()
        server.shutdown()


@pytest.fixture
def rest(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rest]:
    monkeypatch.setattr(rest_module, "_TIMEOUT_S", 0.5)
    rest = Rest(f"http://127.0.0.1:{server.server_port}", "admin", "admin", on_silence=lambda: "its log")
    yield rest
    rest.close()


def test_a_read_is_made_again_with_a_warning(server: Server, rest: Rest) -> None:
    server.silent["/api/v2/dags"] = 2

    with pytest.warns(RuntimeWarning, match="GET /api/v2/dags had no answer") as warned:
        assert rest.get("/dags")["path"] == "/api/v2/dags"

    assert len(warned) == 2
    assert server.calls["/api/v2/dags"] == 3


@pytest.mark.filterwarnings("ignore:GET .* had no answer:RuntimeWarning")
def test_a_server_that_stays_silent_is_an_error_with_what_is_known_of_it(server: Server, rest: Rest) -> None:
    server.silent["/api/v2/dags"] = 10

    with pytest.raises(NoAnswerError, match=r"GET /api/v2/dags: ReadTimeout .* 3 times. its log"):
        rest.get("/dags")

    assert server.calls["/api/v2/dags"] == 3


def test_a_write_is_made_once(server: Server, rest: Rest) -> None:
    """Nobody knows whether it was done."""
    server.silent["/api/v2/dags"] = 1

    with pytest.raises(NoAnswerError):
        rest.post("/dags", {})

    assert server.calls["/api/v2/dags"] == 1


def test_an_answer_is_an_answer(server: Server, rest: Rest) -> None:
    """A refusal is not asked for twice."""
    with pytest.raises(RestError):
        rest.get("/missing")

    assert rest.find("/missing") is None
    assert server.calls["/api/v2/missing"] == 2
