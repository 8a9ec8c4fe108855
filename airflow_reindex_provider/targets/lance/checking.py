"""A LanceDB database examined: its place, rights and room."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from airflow_reindex_provider.core.findings import ok, tried, warning, wrong
from airflow_reindex_provider.core.model import Finding
from airflow_reindex_provider.targets.lance.storage import Storage


def place(storage: Storage) -> Finding:
    import lancedb

    return tried("database", lambda: f"LanceDB {lancedb.__version__}, {len(storage.names())} tables in {storage.uri}.")


def rights(storage: Storage) -> Iterator[Finding]:
    """Of a bucket the first write tells."""
    if "://" in storage.uri:
        yield ok("rights", "Reading works. Whether the credentials may write and delete shows when a run does it.")
    elif os.access(storage.uri, os.W_OK | os.X_OK):
        yield ok("rights", f"The worker's user may write in {storage.uri}.")
    else:
        yield wrong("rights", f"The worker's user may not write in {storage.uri}: chown it, or let its group write.")


def room(storage: Storage, *, needed: int) -> Iterator[Finding]:
    """:param needed: bytes that a rebuild of the live generation would take."""
    if "://" in storage.uri:
        return
    free = shutil.disk_usage(storage.uri).free
    if free < needed:
        yield warning("room", f"{free / 1e6:,.1f} MB are free, and a rebuild needs {needed / 1e6:,.1f} MB more.")
    else:
        yield ok("room", f"{free / 1e6:,.1f} MB are free.")
