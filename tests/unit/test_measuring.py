"""What is measured of a run: once, whichever of its tasks die and are tried again."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_reindex_provider import Stream
from airflow_reindex_provider.core.metrics import BATCH_DURATION, DOCUMENTS, RUN_DURATION, RUNS
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.operators import measuring
from airflow_reindex_provider.operators.checkpoint import CheckpointOperator
from airflow_reindex_provider.operators.index import IndexBatchOperator
from airflow_reindex_provider.operators.notes import KEEP_JOBS
from airflow_reindex_provider.testing.memory import MemoryCheckpoint, MemorySource, MemoryTarget
from airflow_reindex_provider.testing.runs import Runner


class Ti(SimpleNamespace):
    """A task instance, whose notes and XComs are in memory. :ivar found: what it finds of other tasks by (task, key)."""

    def __init__(self, **found: Any) -> None:
        super().__init__(
            dag_id="reindex_items", run_id="r", task_id="t", map_index=-1, try_number=1, notes={}, found=found
        )

    def xcom_push(self, key: str, value: Any) -> None: ...

    def xcom_pull(self, task_ids: str, key: str = "return_value", **_: Any) -> Any:
        return self.found.get(f"{task_ids}__{key}")

    def note(self, key: str, value: Any, *, retention: timedelta) -> None:
        """Each has its end."""
        assert retention == KEEP_JOBS
        self.notes[key] = value

    @property
    def context(self) -> Any:
        notes = SimpleNamespace(get=self.notes.get, set=self.note, delete=lambda key: self.notes.pop(key, None))
        run = SimpleNamespace(conf={}, run_type="scheduled", start_date=None)
        events: Any = defaultdict(lambda: SimpleNamespace(extra={}))
        return {
            "ti": self,
            "task_state_store": notes,
            "dag": SimpleNamespace(tasks=[]),
            "dag_run": run,
            "params": {},
            "run_id": self.run_id,
            "outlet_events": events,
        }


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each metric was."""
    found: Counter[str] = Counter()

    def count(name: str, *_: Any, **__: Any) -> None:
        found[name] += 1

    monkeypatch.setattr(measuring, "stats", SimpleNamespace(incr=count, gauge=count, timing=count))
    return found


def test_a_batch_that_is_done_twice_is_measured_once(sent: Counter[str]) -> None:
    """Its worker dies after the last chunk, before Airflow knows that the task has ended: the next try does all of it again.
    The closing task dies and is tried again too."""
    source = MemorySource(now_us=0)
    with source.transaction() as transaction:
        for key in "abcd":
            transaction.put({"id": key, "title": key})
    source.now_us += 1
    stream = Stream(name="items", source=source, target=MemoryTarget(name="items"), checkpoint=MemoryCheckpoint())
    runner = Runner(
        source=source,
        target=stream.target,
        stream="items",
        store=stream.checkpoint,
        sizes=Sizes(batch_rows=2, max_batches=2),
    )
    plan = runner.plan()
    results = []
    for batch in plan.batches:
        ti = Ti()
        index = IndexBatchOperator(task_id="index", stream=stream, batch=batch.to_json())
        index.execute(ti.context)
        results.append(index.execute(ti.context))
        assert ti.notes == {}, "a batch that is complete has nothing to go on from"
    assert sent[BATCH_DURATION.name] == 0

    closing = Ti(
        extract__return_value=[batch.to_json() for batch in plan.batches],
        extract__reindex_plan=plan.to_json(),
        index__return_value=results,
    )
    close = CheckpointOperator(task_id="checkpoint", stream=stream, extract_task_id="extract", index_task_id="index")
    close.execute(closing.context)
    first = dict(sent)
    close.execute(closing.context)

    assert first[BATCH_DURATION.name] == len(plan.batches) == 2
    for metric in (BATCH_DURATION, RUNS, DOCUMENTS, RUN_DURATION):
        assert sent[metric.name] == first.get(metric.name, 0)
