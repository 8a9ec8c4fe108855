"""Indexes one batch in a process of its own, with a resume log in a file: what a task does, without Airflow.

python indexing_process.py job.json: an object of batch, source, target, stream, resume, format, chunk_rows and, if wanted,
pause_s. Prints the result as JSON and the peak of its memory in kilobytes.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from airflow_reindex_provider.core.model import Batch, Format
from airflow_reindex_provider.core.progress import Progress
from airflow_reindex_provider.core.running.indexing import index_batch
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.memory import MemoryReporter


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


def main(job: dict[str, Any]) -> None:
    batch = Batch.from_json(job["batch"])
    source, target = PostgresSource(**job["source"]), PostgresTarget(**job["target"])
    with source.open() as reading, target.open(job["stream"]) as writing:
        result = index_batch(
            batch,
            source=reading,
            target=writing,
            format=Format(job["format"]),
            chunk_rows=job["chunk_rows"],
            max_failures=0,
            progress=Progress(batch, "incremental", MemoryReporter()),
            resume=FileResumeLog(Path(job["resume"])),
            # Asked after every chunk: where a kill must fall within the batch, it takes its time.
            should_stop=lambda: bool(time.sleep(job.get("pause_s", 0))),
        )
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({**result.to_json(), "peak_kb": peak_kb}))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
