"""A real Weaviate on loopback, without Docker: for tests, and for trying things out. ``python -m
airflow_reindex_provider.testing.weaviate_server`` brings its program, which Go builds once, and says where it is.

Weaviate is not shipped as a program; its module is in Go's registry, and to build it takes ten minutes of one processor.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from airflow_reindex_provider.testing.folders import make_folder, one_at_a_time
from airflow_reindex_provider.testing.processes import ProcessSet, free_port, until_it_answers

VERSION = "1.35.2"
_MODULE = "github.com/weaviate/weaviate/cmd/weaviate-server"
_VARIABLE = "REINDEX_WEAVIATE_BIN"
_REMEDY = f"Install Go 1.24 or newer (go.dev/dl), which builds it once, or name the program in {_VARIABLE}."
_START_S = 120.0
_API_KEY = "a-key-for-tests"
_KEPT = ("PATH", "HOME", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GOFLAGS", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Of the environment, whatever fetches modules may need."""


class WeaviateServer:
    """Context manager: one Weaviate, with one API key; its data are gone afterwards, and it ends with the context, and
    also when the owner is killed.

    :param url: of one that runs, as :attr:`url` says it; it is only looked at.
    :raises RuntimeError: on entering, when it cannot be had or started; says why, and what to install.
    """

    def __init__(self, *, url: str | None = None) -> None:
        self.name = "weaviate"
        self.version = VERSION
        self.url = url or f"http://127.0.0.1:{free_port()}/?grpc_port={free_port()}"
        parts = urlsplit(self.url)
        self._port = parts.port
        self._grpc_port = int(parse_qs(parts.query)["grpc_port"][0])
        self._is_ours = url is None
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> Self:
        if not self._is_ours:
            return self
        program = find_weaviate()
        with contextlib.ExitStack() as stack:
            folder = make_folder("reindex-weaviate-", durable=False)
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            processes = stack.enter_context(ProcessSet(folders=[folder]))
            log = folder / "server.log"
            command = [str(program), "--scheme", "http", "--host", "127.0.0.1", "--port", str(self._port)]
            processes.start("weaviate", command, env=self._settings(folder), log=log)
            self._wait(processes, log)
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._exit.close()

    def connection_uri(self) -> str:
        """The connection that Airflow has to it, as ``AIRFLOW_CONN_<ID>`` takes it."""
        return json.dumps(
            {
                "conn_type": "weaviate",
                "host": "127.0.0.1",
                "port": self._port,
                "extra": {"grpc_host": "127.0.0.1", "grpc_port": self._grpc_port, "token": _API_KEY},
            }
        )

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The server as anybody sees it who asks it over HTTP: JSON in and out. None where there is nothing (404)."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json", "authorization": f"Bearer {_API_KEY}"}
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}/v1{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                said = answer.read()
                return json.loads(said) if said else None
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise RuntimeError(f"{method} {path}: {error.code} {error.read().decode()}") from error

    def aliases(self, begins: str) -> list[str]:
        """Those with names that begin so."""
        found = [alias["alias"] for alias in (self.call("GET", "/aliases") or {}).get("aliases") or ()]
        return sorted(name for name in found if name.startswith(begins))

    def collections(self, begins: str) -> list[str]:
        """Those with names that begin so."""
        found = [collection["class"] for collection in self.call("GET", "/schema")["classes"] or ()]
        return sorted(name for name in found if name.startswith(begins))

    def clear(self, begins: str) -> None:
        """Drop all aliases and collections with names that begin so."""
        for name in self.aliases(begins):
            self.call("DELETE", f"/aliases/{name}")
        for name in self.collections(begins):
            self.call("DELETE", f"/schema/{name}")

    def _settings(self, folder: Path) -> dict[str, str]:
        ports = {
            name: str(free_port())
            for name in ("CLUSTER_GOSSIP_BIND_PORT", "CLUSTER_DATA_BIND_PORT", "RAFT_PORT", "RAFT_INTERNAL_RPC_PORT")
        }
        return {
            **ports,
            "GRPC_PORT": str(self._grpc_port),
            "CLUSTER_HOSTNAME": "node1",
            "CLUSTER_ADVERTISE_ADDR": "127.0.0.1",
            "RAFT_BOOTSTRAP_EXPECT": "1",
            "PERSISTENCE_DATA_PATH": str(folder / "data"),
            "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
            "AUTHENTICATION_APIKEY_ENABLED": "true",
            "AUTHENTICATION_APIKEY_ALLOWED_KEYS": _API_KEY,
            "AUTHENTICATION_APIKEY_USERS": "reindex",
            "DEFAULT_VECTORIZER_MODULE": "none",
            "DISABLE_TELEMETRY": "true",
            "GO_PROFILING_DISABLE": "true",
            # The machine's disk may be nearly full, and its data are soon gone.
            "DISK_USE_WARNING_PERCENTAGE": "100",
            "DISK_USE_READONLY_PERCENTAGE": "100",
            "LOG_LEVEL": "warning",
        }

    def _wait(self, processes: ProcessSet, log: Path) -> None:
        ready = f"http://127.0.0.1:{self._port}/v1/.well-known/ready"
        until_it_answers(
            lambda: urllib.request.urlopen(ready, timeout=5).close(),
            OSError,
            within_s=_START_S,
            alive=processes.check,
            what="Weaviate",
            log=log,
        )


def find_weaviate() -> Path:
    """The server's program; where it is not there yet, Go builds it now. It is kept in ``$REINDEX_ENGINES_DIR``; default:
    ``airflow-reindex-provider`` in the user's cache folder.

    :raises RuntimeError: it is not here and cannot be built; says what to install."""
    if named := os.environ.get(_VARIABLE):
        return Path(named)
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "airflow-reindex-provider"
    cache = Path(os.environ.get("REINDEX_ENGINES_DIR") or default)
    program = cache / f"weaviate-{VERSION}" / "weaviate-server"
    if not program.is_file():
        go = shutil.which("go", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/go/bin")))
        if go is None:
            raise RuntimeError(f"There is no Weaviate on this machine, and no Go to build it with. {_REMEDY}")
        program.parent.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(program.parent):
            if not program.is_file():
                _build(go, program)
    return program


def _build(go: str, program: Path) -> None:
    """As a program of its own, in a folder whose modules and objects, two gigabytes, are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="weaviate-", dir=program.parent) as name:
        folder = Path(name)
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        settings = {
            "GOBIN": str(folder / "bin"),
            "GOMODCACHE": str(folder / "modules"),
            "GOCACHE": str(folder / "objects"),
            "GOTMPDIR": str(folder),
            "GOFLAGS": f"{kept.get('GOFLAGS', '')} -modcacherw".strip(),
            "GOTOOLCHAIN": "local",
            "CGO_ENABLED": "0",
        }
        done = subprocess.run(
            [go, "install", "-ldflags=-s -w", f"{_MODULE}@v{VERSION}"],
            env={**kept, **settings},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"Go cannot build Weaviate {VERSION}:\n{done.stderr[-2000:]}")
        (folder / "bin" / program.name).rename(program)


if __name__ == "__main__":
    print(find_weaviate())
