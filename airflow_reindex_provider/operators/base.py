"""What the operators of one stream share: which errors are worth a retry, how they stop, and the messages around them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator, ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.exceptions import AirflowSkipException

from airflow_reindex_provider.control.carried import carried
from airflow_reindex_provider.core.errors import ConfigurationError, GenerationGoneError
from airflow_reindex_provider.core.leases import DEFAULT_LEASE, Keeper
from airflow_reindex_provider.core.model import Batch, Mode
from airflow_reindex_provider.core.planning import is_superseded
from airflow_reindex_provider.core.progress import Progress
from airflow_reindex_provider.core.protocols import TargetSession
from airflow_reindex_provider.events import Event, tell_event
from airflow_reindex_provider.hooks.progress import ReindexProgressHook
from airflow_reindex_provider.operators.lineage import WithLineage
from airflow_reindex_provider.operators.publishing import publish_failure, publish_retry
from airflow_reindex_provider.stream import Stream

if TYPE_CHECKING:
    from datetime import timedelta

    from airflow.sdk import Context

log = logging.getLogger(__name__)

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=ConfigurationError,
            action=RetryAction.FAIL,
            reason="a retry cannot mend the stream's definition, a grant or the data",
        )
    ]
)
DEFAULT_RETRIES = 3


class StreamOperator(WithLineage, BaseOperator):
    """A task of a stream. Retries three times by default, but not when a person has to act first. Why it failed is the XCom
    ``reindex_failure``."""

    role: ClassVar[str | None] = None
    """What its Dag does for the stream, one of ``control.carried.ROLES``; None of a task that does not say so."""
    mode: ClassVar[Mode] = Mode.INCREMENTAL
    """What its metrics are of."""
    tells_events: ClassVar[bool] = False
    """Whether it tells what happens as events of the stream."""
    _stopping = False
    _progress: Progress | None = None

    def __init__(self, *, stream: Stream, **kwargs: Any) -> None:
        kwargs.setdefault("retries", DEFAULT_RETRIES)
        kwargs.setdefault("retry_policy", RETRY_POLICY)
        kwargs["inlets"] = [*(kwargs.get("inlets") or []), *stream.checkpoint_assets]
        for event, publish in (("on_failure_callback", publish_failure), ("on_retry_callback", publish_retry)):
            kwargs[event] = [*_listed(kwargs.get(event)), publish]
        if self.role is not None:
            # By its asset the stream is found among all Dags.
            kwargs["inlets"].append(stream.asset)
            kwargs["doc_json"] = carried(stream, self.role)
        if self.tells_events:
            kwargs["outlets"] = [*(kwargs.get("outlets") or []), stream.events]
            if stream.asset not in kwargs["inlets"]:
                # Whoever watches the stream reads in its state why a task failed.
                kwargs["inlets"].append(stream.asset)
        super().__init__(**kwargs)
        self.stream = stream

    def stream_of(self, group: str | None) -> Stream:
        """The stream of one group; None is for a stream without groups."""
        return self.stream if group is None else self.stream.of_group(group)

    def tell_event(self, context: Context, event: Event, **figures: Any) -> None:
        """To be recorded by Airflow once the task has succeeded; see ``events``."""
        tell_event(context, event, stream=self.stream.name, **figures)

    def on_kill(self) -> None:
        self._stopping = True
        if self._progress is not None:
            # Called in the middle of whatever the task does, reports included, and some seconds before the process is killed.
            threading.Thread(target=self._progress.stop, name="reindex-stop", daemon=True).start()

    def track(self, context: Context, batch: Batch) -> Progress:
        """A counter for the batch, whose records are this task's progress."""
        self._progress = ReindexProgressHook(context["ti"]).track(batch)
        self.touched.follow(self._progress)
        return self._progress

    def should_stop(self) -> bool:
        """Whether somebody has marked the task while it runs: asked between two chunks."""
        return self._stopping

    def should_stop_keeping(self, keeper: Keeper) -> Callable[[], bool]:
        """The same, for whoever works under a lease: to be asked before every write, since whoever has lost it writes no
        more."""

        def should_stop() -> bool:
            keeper.keep()
            return self._stopping

        return should_stop


def _listed(callbacks: Any) -> list[Any]:
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks] if callbacks else []


def lease_of(stream: Stream, context: Context, purpose: Mode, ttl: timedelta = DEFAULT_LEASE) -> Keeper:
    """Of the stream's lease, which all tasks of a run share: no other rebuild or sweep runs beside it."""
    ti = context["ti"]
    return Keeper(stream.checkpoint, stream.name, holder=f"{ti.dag_id} {ti.run_id}", purpose=str(purpose), ttl=ttl)


def name_instance(context: Context, label: str | None) -> None:
    """Name the mapped task instance, by ``operators.index.MAP_INDEX_TEMPLATE``."""
    context["batch_label"] = label  # type: ignore[typeddict-unknown-key]  # the template reads it


def tell(what: str, held_by: str | None, warnings: Iterable[str]) -> None:
    """Log what a plan has found that somebody should know."""
    warnings = list(warnings)
    for warning in warnings:
        log.warning("%s: %s", what, warning)
    if held_by and not any(held_by in warning for warning in warnings):
        log.warning("%s: the horizon is held back by %s.", what, held_by)


def close_progress(context: Context, task_id: str, map_indexes: Iterable[int]) -> None:
    """Of instances of a task that have ended, and did not finish: none of them is to be shown as running.

    :param map_indexes: -1 of a task that is not mapped."""
    for map_index in map_indexes:
        ReindexProgressHook(context["ti"]).close(task_id=task_id, map_index=map_index)


def results_of(found: Any) -> list[dict[str, Any]]:
    """What the instances of a mapped task returned, as it is pulled; those that did not finish have returned nothing. One
    alone comes without a list."""
    if isinstance(found, dict):
        found = [found]
    return [value for value in found or () if value is not None]


def is_true(name: str, value: bool | str | None) -> bool:
    """Of an argument that may be a template.

    :raises ConfigurationError: it is neither true nor false. What a person meant by another word, nobody can know."""
    text = str(value).strip().lower()
    if text not in ("true", "false", "none", ""):
        raise ConfigurationError(f"{name} is true or false, and not {value!r}.")
    return text == "true"


@contextmanager
def skipped_if_superseded(batch: Batch, target: TargetSession) -> Iterator[None]:
    """A batch that finds its generation dropped by a rebuild ends as skipped: another try could not do what it was planned
    for, and nothing is left of it to do. That of a rebuild whose own generation is gone fails."""
    try:
        yield
    except GenerationGoneError as error:
        if batch.mode is Mode.REBUILD or not is_superseded(target, batch.generation):
            raise
        log.warning(
            "%s A rebuild has put another one in its place, so nothing is lost: the next run reads on from the checkpoint of"
            " the live one.",
            error,
        )
        raise AirflowSkipException("Another generation is live by now.") from error
