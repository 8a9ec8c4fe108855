"""Indexes one batch: the mapped task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.core.model import Batch, BatchResult
from airflow_reindex_provider.core.progress import Progress
from airflow_reindex_provider.core.protocols import ResumeLog, SourceSession, TargetSession
from airflow_reindex_provider.core.running.indexing import index_batch
from airflow_reindex_provider.operators import tracing
from airflow_reindex_provider.operators.base import StreamOperator, name_instance, skipped_if_superseded
from airflow_reindex_provider.operators.collecting import sparing_imports
from airflow_reindex_provider.operators.measuring import Measured
from airflow_reindex_provider.operators.notes import KEEP_JOBS

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.execution_time.context import TaskStateStoreAccessor

    from airflow_reindex_provider.stream import Stream

MAP_INDEX_TEMPLATE = "{{ batch_label }}"
_RESUME_KEY = "reindex_resume"


class _TaskStateResumeLog:
    """Keeps a batch's acknowledged position in Airflow's task state store, which outlives tries and clears."""

    def __init__(self, store: TaskStateStoreAccessor) -> None:
        self._store = store

    def load(self) -> dict[str, Any] | None:
        value = self._store.get(_RESUME_KEY)
        return value if isinstance(value, dict) else None

    def save(self, value: dict[str, Any]) -> None:
        self._store.set(_RESUME_KEY, value, retention=KEEP_JOBS)

    def clear(self) -> None:
        self._store.delete(_RESUME_KEY)


def index_into(
    stream: Stream,
    batch: Batch,
    *,
    source: SourceSession,
    target: TargetSession,
    progress: Progress,
    resume: ResumeLog,
    should_stop: Callable[[], bool],
    pace: Callable[[int], None],
    measured: Measured,
    planned: Mapping[str, Any] = {},
) -> BatchResult:
    """One batch of the stream, as the stream says.

    :param measured: of what goes over the wire. :param planned: the batch as its planning task has returned it."""
    with sparing_imports(), tracing.indexing(batch, stream.name, planned) as span:
        result = index_batch(
            batch,
            source=source,
            target=target,
            format=stream.format,
            chunk_rows=stream.target.chunk_rows,
            max_failures=stream.max_failures,
            progress=progress,
            resume=resume,
            transform=stream.transform,
            embed=stream.embed,
            should_stop=should_stop,
            pace=pace,
            observer=tracing.Observed(measured.traffic),
        )
        tracing.counted(span, {**result.counts.to_json(), "chunks": result.chunks})
        return result


class IndexBatchOperator(StreamOperator):
    """Writes one batch into the index; a new try goes on after the last chunk that the target acknowledged.

    Map it over the batches that :class:`ExtractChangesOperator` returns::

        IndexBatchOperator.partial(
            task_id="index", stream=stream, retries=3, map_index_template="{{ batch_label }}"
        ).expand(batch=extract.output)

    The scheduler takes ``retries`` and ``map_index_template`` from ``partial`` alone, or the Dag's ``default_args``.

    Live progress is the XCom ``reindex_progress`` (:class:`ReindexProgressHook`). Returns the counts of the batch with
    the documents that were refused. Marked failed or cleared while it runs, it stops between two chunks.

    :param stream: as in the planning task. :param batch: one of the plan's batches, as JSON.
    """

    reads_source = True
    writes_index = True

    def __init__(self, *, stream: Stream, batch: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(stream=stream, **kwargs)
        self.batch = batch

    def execute(self, context: Context) -> dict[str, Any]:
        return self.index(context, Batch.from_json(self.batch))

    def index(self, context: Context, batch: Batch) -> dict[str, Any]:
        """One batch, and what became of it."""
        stream = self.stream_of(batch.group)
        measured = Measured(self.stream, batch.mode)
        name_instance(context, batch.label)
        with (
            stream.source.open() as source,
            stream.target.open(stream.name) as target,
            skipped_if_superseded(batch, target),
        ):
            self.touched.stream, self.touched.generation, self.touched.schema = (
                stream,
                batch.generation,
                source.schema(),
            )
            result = index_into(
                stream,
                batch,
                source=source,
                target=target,
                progress=self.track(context, batch),
                resume=_TaskStateResumeLog(context["task_state_store"]),
                should_stop=self.should_stop,
                pace=self.pace(context),
                measured=measured,
                planned=self.batch,
            )
        self.log.info(
            "Batch %d/%d of stream %r: %s in %d chunks, %.1f s.",
            batch.number + 1,
            batch.of,
            stream.name,
            ", ".join(f"{n:,} {what}" for what, n in result.counts.to_json().items() if n) or "no rows",
            result.chunks,
            result.elapsed_s,
        )
        return result.to_json()

    def pace(self, context: Context) -> Callable[[int], None]:
        """What is told after each chunk how many documents it had, and may wait."""
        return lambda documents: None
