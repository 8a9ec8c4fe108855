"""A Weaviate server examined: its release, its state and the rights of the connection."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_reindex_provider.core.errors import ReindexError
from airflow_reindex_provider.core.findings import ok, tried, warning, wrong
from airflow_reindex_provider.core.model import Finding
from airflow_reindex_provider.targets.weaviate.server import Server


def engine(server: Server) -> Finding:
    return tried("server", lambda: f"Weaviate {server.version}, which has aliases.")


def health(server: Server) -> Iterator[Finding]:
    try:
        with server.explained():
            nodes = server.client.cluster.nodes()
    except ReindexError as error:
        yield warning("health", f"Whether its nodes are well cannot be seen: {error}")
        return
    if ill := [f"{node.name} is {node.status}" for node in nodes if node.status != "HEALTHY"]:
        yield wrong("health", f"Not all of its nodes are well: {', '.join(ill)}.")
    else:
        yield ok("health", f"{len(nodes)} nodes, all healthy.")


def rights(server: Server) -> Finding:
    def look() -> str:
        server.aliases()
        return (
            "Reading collections and aliases works. Whether the user may make and write them shows when a run does it."
        )

    return tried("rights", look)
