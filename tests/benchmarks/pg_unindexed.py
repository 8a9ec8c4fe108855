"""Ours, into Postgres, from a table without the index: how often progress shows, how soon a stop is followed, and that the next
try goes on where it was."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from airflow_reindex_provider.core.errors import IndexingStoppedError
from airflow_reindex_provider.core.model import Batch, Position, Window
from airflow_reindex_provider.core.running.indexing import WRITES_AT_ONCE
from airflow_reindex_provider.operators.index import IndexBatchOperator
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from tests.benchmarks import data
from tests.benchmarks.meter import answer
from tests.benchmarks.task import STAMP, RunningTask

TABLE = "public.unindexed"
STREAM = Stream(
    name="bench_unindexed",
    source=PostgresSource("bench", table=TABLE, primary_key="id", cursor_field="updated_at"),
    target=PostgresTarget("bench", index="public.from_unindexed"),
)


def make(database: Database, rows: int) -> None:
    """The last so many changes of the table that all others read, without its index."""
    start, _ = data.window(rows)
    with database.connect() as connection:
        connection.execute(f"CREATE TABLE {TABLE} AS SELECT * FROM {data.TABLE} WHERE updated_at >= '{start}'")
        connection.execute(f"ALTER TABLE {TABLE} ADD PRIMARY KEY (id), ALTER updated_at SET NOT NULL")
        connection.execute(f"VACUUM (ANALYZE) {TABLE}")


class WatchedTask(RunningTask):
    """Remembers when progress was shown, and how far it was; asks to stop at some number of rows."""

    def __init__(self, folder: Path, stop_at: int | None = None) -> None:
        super().__init__(folder)
        self.seen: list[tuple[float, int]] = []
        self.asked_at: float | None = None
        self.stop: Any = lambda: None
        self._stop_at = stop_at

    def xcom_push(self, key: str, value: Any) -> None:
        super().xcom_push(key, value)
        if key != "reindex_progress":
            return
        self.seen.append((time.perf_counter(), value["processed"]))
        if self._stop_at is not None and self.asked_at is None and value["processed"] >= self._stop_at:
            # As a signal does: in the middle of whatever the task is at.
            self.asked_at = time.perf_counter()
            threading.Thread(target=self.stop).start()

    @property
    def longest_gap_s(self) -> float:
        """Between two records, once rows flow."""
        times = [at for at, processed in self.seen if processed]
        return max((b - a for a, b in pairwise(times)), default=0.0)


def main(rows: int) -> None:
    start, end = data.window(rows)
    batch = Batch(STREAM.name, STREAM.target.generation_name(STAMP), 0, 1, Window(Position(start), Position(end)), rows)
    with STREAM.source.open() as source, STREAM.target.open(STREAM.name) as target:
        target.create_first(batch.generation, source.schema())
    with tempfile.TemporaryDirectory() as folder:
        first = WatchedTask(Path(folder), stop_at=rows // 3)
        try:
            _index(first, batch)
        except IndexingStoppedError:
            stopped_s = time.perf_counter() - (first.asked_at or 0)
        else:
            raise RuntimeError("it did not stop")
        second = WatchedTask(Path(folder))
        result = _index(second, batch)
    again = result["updated"] + result["version_conflicts"]
    if (
        second.seen[0][1] < rows // 3
        or result["processed"] != rows
        or again > WRITES_AT_ONCE * STREAM.target.chunk_rows
    ):
        raise RuntimeError(f"it did not go on where it was: {second.seen[0]}, {result}")
    answer(rows=rows, gap_s=max(first.longest_gap_s, second.longest_gap_s), stopped_s=stopped_s)


def _index(task: WatchedTask, batch: Batch) -> dict[str, Any]:
    operator = IndexBatchOperator(task_id=task.task_id, stream=STREAM, batch=batch.to_json())
    task.stop = operator.on_kill
    return operator.execute({"ti": task, "task_state_store": task})  # type: ignore[typeddict-item]


if __name__ == "__main__":
    main(int(sys.argv[1]))
