"""Closes a run: moves the checkpoint as far as all is acknowledged, and parks what was refused."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import TriggerRule
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_reindex_provider.control.carried import REINDEX
from airflow_reindex_provider.core.errors import GenerationGoneError
from airflow_reindex_provider.core.groups import GroupPlans
from airflow_reindex_provider.core.model import BatchResult, Mode, Plan
from airflow_reindex_provider.core.published import ACTION_KEY, OUTCOME_KEY, PLAN_KEY
from airflow_reindex_provider.core.running.outcomes import GroupOutcomes, Outcome
from airflow_reindex_provider.core.running.settling import require_complete, settle
from airflow_reindex_provider.core.running.settling_groups import require_all, settle_groups
from airflow_reindex_provider.events import Event, with_names
from airflow_reindex_provider.operators.acting import asked_of
from airflow_reindex_provider.operators.base import StreamOperator, close_progress, results_of
from airflow_reindex_provider.operators.measuring import Measured
from airflow_reindex_provider.operators.publishing import publish_standing

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_reindex_provider.stream import Stream


def settled(stream: Stream, plan: Plan, results: Sequence[BatchResult], *, run: str) -> Outcome:
    """What :func:`settle` makes of a run of the stream."""
    target = partial(stream.target.open, stream.name)
    return settle(plan, results, store=stream.checkpoint, target=target, run=run, max_failures=stream.max_failures)


class CheckpointOperator(StreamOperator):
    """Runs after all batches, whatever became of them; one per stream and run.

    Moves the checkpoint to the end of the longest unbroken run of finished batches, parks refused documents, and makes a
    first load public. A run that is not complete fails here, after what was done is kept. Returns the run's sums, which
    are also the XCom ``reindex_run`` and the ``extra`` of the stream's asset event. A dry run ends as skipped, and so does one
    whose generation a rebuild has dropped meanwhile.

    :param stream: as in the planning task.
    :param extract_task_id: the planning task. :param index_task_id: the mapped one.
    """

    role = REINDEX
    writes_index = True
    tells_events = True

    def __init__(self, *, stream: Stream, extract_task_id: str, index_task_id: str, **kwargs: Any) -> None:
        kwargs.setdefault("trigger_rule", TriggerRule.ALL_DONE)
        kwargs["outlets"] = [*(kwargs.get("outlets") or []), stream.asset]
        super().__init__(stream=stream, **kwargs)
        self.extract_task_id = extract_task_id
        self.index_task_id = index_task_id

    def execute(self, context: Context) -> dict[str, Any]:
        stream, ti = self.stream, context["ti"]
        if (asked := asked_of(context, stream)) is not None:
            publish_standing(context, stream, None, Mode.INCREMENTAL)
            if not ti.xcom_pull(task_ids=self.extract_task_id, key=ACTION_KEY):
                raise AirflowFailException(
                    f"Stream {stream.name!r}: {asked.action!r} was not done, or not to the end: task {self.extract_task_id!r} did"
                    " not finish, and its log says why."
                )
            raise AirflowSkipException(f"The run did {asked.action!r} and indexed nothing.")
        planned: Any = ti.xcom_pull(task_ids=self.extract_task_id, key=PLAN_KEY)
        batches: Any = ti.xcom_pull(task_ids=self.extract_task_id)
        if not planned or batches is None:
            raise AirflowFailException(
                f"Stream {stream.name!r}: there is no plan, since task {self.extract_task_id!r} did not finish; its log says"
                " why. The checkpoint stays where it is."
            )
        plan = (GroupPlans if stream.has_groups else Plan).from_json(planned, batches)
        if plan.dry_run:
            ti.xcom_push(key=OUTCOME_KEY, value=planned)
            raise AirflowSkipException(f"Dry run: {plan.rows:,} rows in {planned['batches']} batches would be indexed.")
        found: Any = ti.xcom_pull(task_ids=self.index_task_id)
        results = [BatchResult.from_json(value) for value in results_of(found)]
        finished = {result.batch for result in results}
        close_progress(context, self.index_task_id, (n for n, b in enumerate(plan.batches) if b not in finished))
        run = str(context["run_id"])
        outcome: Outcome | GroupOutcomes
        if isinstance(plan, GroupPlans):
            outcome = settle_groups(plan, results, partial(self._settle, run=run))
        else:
            try:
                outcome = self._settle(plan, results, run=run)
            except GenerationGoneError as error:
                self.log.warning("%s Nothing is lost: the next run reads on from the live one's checkpoint.", error)
                raise AirflowSkipException("Another generation is live by now.") from error
        report = outcome.to_json()
        ti.xcom_push(key=OUTCOME_KEY, value=report)
        mode = Mode(report["mode"])
        plans = outcome.plans.plans if isinstance(outcome, GroupOutcomes) else (outcome.plan,)
        standing = publish_standing(context, stream, plans[0].cursor_type if plans else None, mode)
        Measured(stream, mode).run(context, report, results)
        if isinstance(outcome, GroupOutcomes):
            require_all(outcome)
        else:
            require_complete(outcome)
        told = {**report, "fresh_until": standing and standing["fresh_until"]}
        context["outlet_events"][stream.asset].extra = with_names(context, Event.RUN_COMPLETED, stream.name, told)
        return report

    def _settle(self, plan: Plan, results: Sequence[BatchResult], *, run: str) -> Outcome:
        if plan.group is None:
            self.touched.generation = plan.generation
        outcome = settled(self.stream_of(plan.group), plan, results, run=run)
        self._tell(outcome)
        return outcome

    def _tell(self, outcome: Outcome) -> None:
        counts = ", ".join(f"{n:,} {what}" for what, n in outcome.counts.to_json().items() if n) or "nothing to do"
        self.log.info("Stream %r: %s.", outcome.plan.stream, counts)
        self.log.info("Checkpoint: %s, was %s.", outcome.checkpoint_after, outcome.checkpoint_before)
        self.log.info("Parked documents: %d.", outcome.parked)
