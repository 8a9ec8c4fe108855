"""A server of several providers' APIs of embeddings that can be told what to do wrong: its vectors are made of the letters of a
text."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from embedding_dialects import dialect_of

DIMENSIONS = 8
MODEL = "letters"
Fault = dict[str, Any]


def vector_of(text: str) -> list[float]:
    """The same for the same text, and never zero."""
    counts = [1.0] + [0.0] * (DIMENSIONS - 1)
    for letter in text:
        counts[ord(letter) % DIMENSIONS] += 1
    return counts


class EmbeddingServer:
    """On loopback, until the context is left.

    :ivar faults: one is taken by each request until there are none: ``status``, ``headers`` and ``error`` of an answer;
        ``hang_up``; ``cut``, which promises a longer answer than it gives; ``body``, sent as it is; ``items``, how many vectors
        are given; ``width``, of each vector; ``value``, of each number.
    :ivar refuse: whether it refuses a request with these texts, as one with a text that is too long.
    :ivar requests: the body of each. :ivar keys: what was sent to say who asks.
    """

    def __init__(self) -> None:
        self.faults: deque[Fault] = deque()
        self.refuse: Callable[[Sequence[str]], bool] = lambda texts: False
        self.requests: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server._answer(self, body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def url(self) -> str:
        """Of OpenAI's API."""
        return f"{self.address}/v1"

    @property
    def connection(self) -> str:
        """One for OpenAI's API, as an environment variable gives it to Airflow."""
        return json.dumps({"conn_type": "openai", "password": "sk-of-a-test", "host": self.url})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def _answer(self, to: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        dialect = dialect_of(to.path)
        texts = dialect.texts(body)
        with self._lock:
            self.requests.append(body)
            self.keys.add(to.headers["Authorization"])
            fault = self.faults.popleft() if self.faults else {}
        if fault.get("hang_up"):
            to.close_connection = True
            return
        tokens = sum(len(text.split()) for text in texts)
        if "status" in fault:
            status, said = fault["status"], dialect.error("as the test wants it", fault)
        elif "body" in fault:
            status, said = 200, fault["body"]
        elif self.refuse(texts):
            status, said = 400, dialect.error(dialect.too_long(), fault)
        else:
            status, said = 200, dialect.answer(body, _vectors(texts, fault), tokens)
        _send(to, status, said, fault, dialect.headers(status, tokens))


def _vectors(texts: Sequence[str], fault: Fault) -> list[list[float]]:
    return [
        [fault.get("value", value) for value in vector_of(text)][: fault.get("width", DIMENSIONS)]
        for text in texts[: fault.get("items", len(texts))]
    ]


def _send(to: BaseHTTPRequestHandler, status: int, body: Any, fault: Fault, headers: Mapping[str, str]) -> None:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    to.send_response(status)
    to.send_header("Content-Type", "application/json")
    for name, value in {**headers, **fault.get("headers", {})}.items():
        to.send_header(name, value)
    to.send_header("Content-Length", str(len(raw) * 2 if fault.get("cut") else len(raw)))
    to.end_headers()
    to.wfile.write(raw)
    to.close_connection = bool(fault.get("cut"))
