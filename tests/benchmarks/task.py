"""One batch through :class:`IndexBatchOperator`, as a mapped task runs it."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from airflow.providers.postgres.hooks.postgres import PostgresHook  # noqa: F401 - by the first connection otherwise

from airflow_reindex_provider.core.model import Batch, Position, Window
from airflow_reindex_provider.operators.index import IndexBatchOperator
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.sources.postgres import session as postgres_session  # noqa: F401 - by the source otherwise
from airflow_reindex_provider.stream import Stream
from tests.benchmarks import data
from tests.benchmarks.meter import Meter, answer

SOURCE = PostgresSource("bench", table=data.TABLE, primary_key="id", cursor_field="updated_at")
STAMP = "20260101t000000"

ROUND_TRIP_S = 0.02
"""What a call of a running task to Airflow takes, XCom or task state; measured on an Airflow without load."""


class RunningTask:
    """What the operator asks of Airflow's context: the task instance, which is its own task state store here.

    Every call takes as long as a real one, and what is stored is on the disk when it returns.
    """

    task_id = "index"
    map_index = 0
    try_number = 1

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.calls = 0

    def xcom_push(self, key: str, value: Any) -> None:
        self.set(key, value)

    def xcom_pull(self, *, key: str, **_: Any) -> Any:
        return self.get(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.calls += 1
        time.sleep(ROUND_TRIP_S)
        path = self._folder / key
        return json.loads(path.read_text()) if path.exists() else default

    def set(self, key: str, value: Any, **_: Any) -> None:
        self.calls += 1
        over = time.perf_counter() + ROUND_TRIP_S
        with (self._folder / key).open("w") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        time.sleep(max(0.0, over - time.perf_counter()))

    def delete(self, key: str) -> None:
        self.calls += 1
        time.sleep(ROUND_TRIP_S)
        (self._folder / key).unlink(missing_ok=True)


def run(stream: Stream, rows: int, window: tuple[str, str]) -> None:
    """Answers with what this process used."""
    start, end = window
    generation = stream.target.generation_name(STAMP)
    batch = Batch(stream.name, generation, 0, 1, Window(Position(start), Position(end)), rows)
    operator = IndexBatchOperator(task_id=RunningTask.task_id, stream=stream, batch=batch.to_json())
    with tempfile.TemporaryDirectory() as folder:
        task = RunningTask(Path(folder))
        meter = Meter()
        result = operator.execute({"ti": task, "task_state_store": task})  # type: ignore[typeddict-item]
        used = meter.read()
    answer(rows=result["created"] + result["updated"], **used)
