"""Indexes one batch in a process of its own, with a resume log in a file: what a task does, without Airflow.

A job is a dictionary of batch, source, target, stream, resume, format, chunk_rows and, if wanted, max_failures, pause_s and
mysql, which says that the source is one of that.
"""

from __future__ import annotations

import json
import os
import resource
import time
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess as Process
from pathlib import Path
from typing import Any

import forking

from airflow_reindex_provider.core.model import Batch, Format
from airflow_reindex_provider.core.progress import Progress
from airflow_reindex_provider.core.running.indexing import index_batch
from airflow_reindex_provider.sources.mysql import MySqlSource
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.memory import MemoryReporter

forking.load(__name__)


class FileResumeLog:
    """Survives the process: written beside and moved into place, so that no kill leaves half of it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> dict[str, Any] | None:
        return json.loads(self._path.read_text()) if self._path.exists() else None

    def save(self, value: dict[str, Any]) -> None:
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps(value))
        os.replace(beside, self._path)

    def clear(self) -> None:
        self._path.unlink(missing_ok=True)


def started(job: dict[str, Any]) -> tuple[Process, Connection]:
    """A process that does it, and what it sends at its end: the result as JSON, and the peak of its memory as ``peak_kb``."""
    ours, theirs = forking.pipe(duplex=False)
    env = {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW")}
    process = forking.started(_work, env, job, theirs)
    theirs.close()
    return process, ours


def _work(env: dict[str, str], job: dict[str, Any], ends: Connection) -> None:
    os.environ.update(env)
    batch = Batch.from_json(job["batch"])
    source = (MySqlSource if job.get("mysql") else PostgresSource)(**job["source"])
    target = PostgresTarget(**job["target"])
    with source.open() as reading, target.open(job["stream"]) as writing:
        result = index_batch(
            batch,
            source=reading,
            target=writing,
            format=Format(job["format"]),
            chunk_rows=job["chunk_rows"],
            max_failures=job.get("max_failures", 0),
            progress=Progress(batch, "incremental", MemoryReporter()),
            resume=FileResumeLog(Path(job["resume"])),
            # Asked after every chunk: where a kill must fall within the batch, it takes its time.
            should_stop=lambda: bool(time.sleep(job.get("pause_s", 0))),
        )
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ends.send({**result.to_json(), "peak_kb": peak_kb})
