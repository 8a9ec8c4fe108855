"""A real OpenSearch or Elasticsearch on loopback, not as root: for tests, benchmarks and trying things out."""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from airflow_reindex_provider.testing.engine_nodes import Node, find_node
from airflow_reindex_provider.testing.engine_releases import DISTRIBUTIONS
from airflow_reindex_provider.testing.folders import make_folder
from airflow_reindex_provider.testing.processes import ProcessSet, UntilLeft, free_port, tail

# Half a minute is usual. One that ends is noticed at once.
_START_S = 400.0


class SearchEngine(UntilLeft):
    """Context manager: one node of ``opensearch`` or ``elasticsearch``; its data are gone afterwards.

    Where ``REINDEX_OPENSEARCH_URL`` (``REINDEX_ELASTICSEARCH_URL``) is set it is the engine at that address, which is only
    looked at. Else it is the newest release that a JDK here can run, fetched with Maven once; else a Docker container. The
    node ends with the context, and also when the owner is killed.

    :param url: of an engine that runs; in place of the variable.
    :param short_lived: a node that is started here starts quickly and keeps its data in memory, where there is room; in the long
        run it is slower.
    :raises RuntimeError: on entering, when the engine cannot be had; says why, and what to install or set.
    """

    def __init__(self, name: str, *, url: str | None = None, short_lived: bool = False) -> None:
        self._about = DISTRIBUTIONS[name]
        self._short_lived = short_lived
        self._folder: Path | None = None
        self._data: Path | None = None
        self._node: Node | None = None
        self._processes: ProcessSet | None = None
        self.name = name
        self.url = (url or os.environ.get(self._about.url_variable, "")).rstrip("/")
        self.version = ""

    def _begin(self, stack: ExitStack) -> None:
        if self.url:
            self.version = self._wait()
            return
        self._node = find_node(self._about, short_lived=self._short_lived)
        self._folder = self._made_folder(stack, "", durable=True)
        # Apart from the rest: programs may not run from memory.
        self._data = self._made_folder(stack, "data-", durable=not self._short_lived)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._node.prepare(self._folder, self._data, port)
        stack.callback(self._end)
        self.restart()

    def _made_folder(self, stack: ExitStack, what: str, *, durable: bool) -> Path:
        folder = make_folder(f"reindex-{self.name}-{what}", durable=durable)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        return folder

    @property
    def ours(self) -> bool:
        """Whether it was started here, so that it may be killed."""
        return self._node is not None

    def kill(self) -> None:
        """Kill the node with SIGKILL, as a crash does. Returns when it is dead; :meth:`restart` brings it back."""
        if self._node is None or self._processes is None:
            raise RuntimeError(f"{self.name} at {self.url} was not started here.")
        self._node.kill(self._processes)
        self._end()

    def restart(self) -> None:
        """Start the killed node again, with its data, at the same address. Returns when it answers."""
        assert self._node is not None
        assert self._folder is not None
        assert self._data is not None
        self._processes = ProcessSet(folders=(self._folder, self._data))
        self._processes.__enter__()
        self._processes.start(
            self.name, self._node.command(), env=self._node.environment(), log=self._log, user=self._node.user
        )
        self.version = self._wait()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The engine as anybody sees it who asks it over HTTP: JSON in and out. None where there is nothing (404)."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def documents(self, name: str) -> dict[str, dict[str, Any]] | None:
        """``_source`` by ``_id`` of all documents (10,000 at the most) of an index or alias; None where there is none."""
        self.call("POST", f"/{name}/_refresh")
        # Elasticsearch leaves vectors out by default, from 9.2 on.
        whole = {"_source": {"exclude_vectors": False}} if self.name == "elasticsearch" else {}
        found = self.call("POST", f"/{name}/_search", {"size": 10_000, **whole})
        return None if found is None else {hit["_id"]: hit["_source"] for hit in found["hits"]["hits"]}

    def connection_uri(self) -> str:
        """The URI of an Airflow connection to it, as ``AIRFLOW_CONN_<ID>`` takes it."""
        address = self.url.removeprefix("http://")
        return f"{self.name}://{address}" + ("/http" if self.name == "elasticsearch" else "")

    # -- pieces

    def _end(self) -> None:
        if self._processes is not None:
            self._processes.__exit__()
            self._processes = None

    @property
    def _log(self) -> Path:
        assert self._folder is not None
        return self._folder / "output.log"

    def _wait(self) -> str:
        """The version, once it answers."""
        deadline = time.monotonic() + _START_S
        while True:
            try:
                # Elasticsearch's distribution lacks the module that answers `GET /`.
                with urllib.request.urlopen(f"{self.url}/_nodes/_local", timeout=5) as answer:
                    (node,) = json.load(answer)["nodes"].values()
                    return str(node["version"])
            except (OSError, ValueError, KeyError) as error:
                if self._processes is not None:
                    self._processes.check()
                if time.monotonic() > deadline:
                    shown = f"; the end of its log:\n{tail(self._log)}" if self._processes is not None else ""
                    raise RuntimeError(f"{self.name} at {self.url} does not answer: {error}{shown}") from error
            time.sleep(0.2)
