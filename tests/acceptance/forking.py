"""Processes for a test to kill: forks of one that has loaded all modules, which takes longer than what they do."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerProcess

import pytest

_CONTEXT = get_context("forkserver")
pipe = _CONTEXT.Pipe
_loaded = [
    # First, since pyarrow takes the room that its compiled part needs: see tests/mysql_clients.py.
    "mysql.connector.pooling",
    "airflow.providers.postgres.hooks.postgres",
    "airflow_reindex_provider.sources.postgres.session",
    "airflow_reindex_provider.targets.postgres.session",
]


def load(*modules: str) -> None:
    """To be called as a file of tests is imported: there is one process that forks, for all files of a worker."""
    _loaded.extend(modules)


def started(target: Callable[..., object], *arguments: object) -> ForkServerProcess:
    """A fork that calls a function of a module that was loaded. Its environment is that of the first one's start: what else it
    is to find there, it is given."""
    _CONTEXT.set_forkserver_preload(_loaded)
    with pytest.MonkeyPatch.context() as patch:
        # Python 3.11 tells the process that forks no path, and it keeps to itself what it does not find.
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()
    process = _CONTEXT.Process(target=target, args=arguments)
    process.start()
    return process
