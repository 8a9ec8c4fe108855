"""A stand-in for a search engine: it reads ``_bulk`` bodies and answers as it is told to, which a real one cannot be made to."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

INFO: Mapping[str, dict[str, Any]] = {
    "opensearch": {"version": {"distribution": "opensearch", "number": "3.1.0"}},
    "elasticsearch": {"version": {"number": "9.1.0", "build_flavor": "default"}, "tagline": "You Know, for Search"},
}


def about(product: str, path: str, **version: str) -> dict[str, Any]:
    """What an engine says of itself."""
    said = {**INFO[product], "version": {**INFO[product]["version"], **version}}
    return {"nodes": {"n": {"version": said["version"]["number"]}}} if path.startswith("/_nodes") else said


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def actions(self) -> list[dict[str, Any]]:
        """Action and ``_id`` of each document."""
        lines = iter(self.body.splitlines())
        found = []
        for line in lines:
            action = json.loads(line)
            if "delete" not in action:
                next(lines)
            found.append(action)
        return found

    @property
    def ids(self) -> list[str]:
        return [action["_id"] for item in self.actions for action in item.values()]


@dataclass(frozen=True)
class Reply:
    status: int = 200
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    silent: threading.Event | None = None
    """Says nothing until this is set."""
    hang_up: bool = False


Script = Callable[[Request], Reply | None]


class StandIn:
    """Answers ``_bulk`` with a success for each document, unless ``script`` has another answer; notes every such request."""

    def __init__(self, product: str) -> None:
        self.product = product
        self.requests: list[Request] = []
        self.script: Script = lambda request: None
        self.port = 0

    def answer(self, request: Request) -> Reply:
        if "_bulk" not in request.path:
            return self.script(request) or Reply(json=about(self.product, request.path))
        self.requests.append(request)
        return self.script(request) or Reply(json=success(request))


def success(request: Request, **items: dict[str, Any]) -> dict[str, Any]:
    """The answer to a body of which all was taken, but for the items given by ``_id``."""
    answers = [
        {action: items.get(of["_id"], {"status": 200 if action == "delete" else 201})}
        for item in request.actions
        for action, of in item.items()
    ]
    return {"errors": any("error" in a for item in answers for a in item.values()), "items": answers}


def error(kind: str, reason: str, status: int) -> dict[str, Any]:
    return {
        "error": {"type": kind, "reason": reason, "root_cause": [{"type": kind, "reason": reason}]},
        "status": status,
    }


@contextmanager
def stand_in(product: str) -> Iterator[StandIn]:
    engine = StandIn(product)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body in one packet

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = engine.answer(Request(self.command, self.path, headers, body))
            if reply.silent is not None:
                reply.silent.wait(30)
            if reply.silent is not None or reply.hang_up:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            data = json.dumps(reply.json or {}, separators=(",", ":")).encode()
            self.send_response(reply.status)
            kind = "application/json"
            if engine.product == "elasticsearch":
                self.send_header("x-elastic-product", "Elasticsearch")
                kind = "application/vnd.elasticsearch+json;compatible-with=9"
            for name, value in {"content-type": kind, "content-length": str(len(data)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = handle_any  # noqa: N815, the names that http.server asks for

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    engine.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield engine
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
