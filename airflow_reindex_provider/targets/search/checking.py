"""A search engine examined: version, health, rights, the state of the index, and room. Nothing is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from airflow_reindex_provider.core.errors import ReindexError
from airflow_reindex_provider.core.findings import ok, warning, wrong
from airflow_reindex_provider.core.model import Finding

if TYPE_CHECKING:
    from airflow_reindex_provider.targets.search.engine import Calls

LOW, FLOOD = 85.0, 95.0
"""Percent of a disk at which the engines, as they come, put no more shards on it, and at which they block writes."""


def engine(calls: Calls) -> Finding:
    nodes = calls.call("GET", "/_nodes/_local?filter_path=nodes.*.version")["nodes"].values()
    versions = ", ".join(sorted({node["version"] for node in nodes}))
    return ok("server", f"{calls.engine.name} {versions} at {calls.engine.where}.")


def health(calls: Calls) -> Finding:
    try:
        found = calls.call("GET", "/_cluster/health")
    except ReindexError as error:
        return warning("health", f"It cannot be seen: {error}")
    status, nodes = found["status"], found["number_of_data_nodes"]
    says = f"The cluster is {status}, with {nodes} data {'node' if nodes == 1 else 'nodes'}."
    if status == "red":
        return warning("health", f"{says} Some shards are on no node: searches and writes to their indexes fail.")
    return ok("health", says)


def room(calls: Calls, *, needed: int) -> Iterator[Finding]:
    """On each node. :param needed: bytes that a rebuild of the live generation would take."""
    try:
        found = calls.call("GET", "/_cat/allocation?format=json&bytes=b&h=node,disk.avail,disk.total,disk.percent")
    except ReindexError as error:
        yield warning("room", f"It cannot be seen: {error}")
        return
    nodes = [node for node in found if node.get("disk.percent") is not None]
    free = sum(int(node["disk.avail"]) for node in nodes)
    full = [node for node in nodes if float(node["disk.percent"]) >= LOW]
    for node in full:
        percent = float(node["disk.percent"])
        says = (
            f"The disk of node {node['node']!r} is full to {percent:.0f}%: {_bytes(int(node['disk.avail']))} are left."
        )
        if percent >= FLOOD:
            yield wrong("room", f"{says} From {FLOOD:.0f}% on the engine blocks writes, unless it is told otherwise.")
        else:
            yield warning(
                "room", f"{says} From {LOW:.0f}% on no new shards come there, unless the engine is told otherwise."
            )
    if nodes and free < needed:
        yield warning("room", f"{_bytes(free)} are free, and a rebuild needs {_bytes(needed)} more.")
    elif not full:
        yield ok("room", f"{_bytes(free)} are free on {len(nodes)} data {'node' if len(nodes) == 1 else 'nodes'}.")


def _bytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


_CLUSTER = ("monitor",)
_INDEX = ("create_index", "manage", "read", "write")
"""What an Elasticsearch user needs, by the names that its API of roles has."""


def rights(calls: Calls, names: Sequence[str], *, privileges: str) -> Finding:
    """Elasticsearch says what a user may do, where its security is on; OpenSearch never does: there the first write tells.

    :param names: of the indexes, patterns too. :param privileges: what is needed, in words."""
    needed = {"cluster": list(_CLUSTER), "index": [{"names": list(names), "privileges": list(_INDEX)}]}
    found = None
    if calls.engine.name == "Elasticsearch":
        with suppress(ReindexError):
            found = calls.call("POST", "/_security/user/_has_privileges", needed)
    if not found:
        return ok("rights", f"Reading works. What the user may write shows when a run does it; it needs {privileges}.")
    user = found["username"]
    if found["has_all_requested"]:
        return ok("rights", f"User {user!r} may do all that runs and rebuilds do.")
    lacking = [f"{name} on the cluster" for name, has in found["cluster"].items() if not has]
    for index, has in found["index"].items():
        if without := [name for name, granted in has.items() if not granted]:
            lacking.append(f"{', '.join(without)} on {index}")
    role = json.dumps({"cluster": needed["cluster"], "indices": needed["index"]})
    return wrong(
        "rights",
        f"User {user!r} lacks {'; '.join(lacking)}. Give it a role with them: PUT /_security/role/reindex {role}",
    )
