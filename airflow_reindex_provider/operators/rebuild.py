"""The tasks of a rebuild: prepare, copy (mapped), catch_up, verify, approve, promote, retire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import TriggerRule
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_reindex_provider.control.carried import REBUILD
from airflow_reindex_provider.core.leases import DEFAULT_LEASE, Keeper
from airflow_reindex_provider.core.model import Batch, BatchResult, Counts, Mode, Plan
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.core.published import BUSY_KEY, GENERATION_KEY, PLAN_KEY
from airflow_reindex_provider.core.rebuilding.promoting import ALL, WAIT
from airflow_reindex_provider.core.rebuilding.steps import (
    CaughtUp,
    begin_rebuild,
    begin_rollback,
    catch_up,
    promote,
    retire,
)
from airflow_reindex_provider.core.rebuilding.verifying import verify
from airflow_reindex_provider.core.running.settling import require_complete
from airflow_reindex_provider.core.running.throttle import Throttle
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.events import Event
from airflow_reindex_provider.operators import tracing
from airflow_reindex_provider.operators.base import close_progress, lease_of, results_of, tell
from airflow_reindex_provider.operators.checkpoint import settled
from airflow_reindex_provider.operators.conf import require_known
from airflow_reindex_provider.operators.groups import OfGroupOperator
from airflow_reindex_provider.operators.index import IndexBatchOperator, index_into
from airflow_reindex_provider.operators.leases import LeasingOperator, skip_if_busy
from airflow_reindex_provider.operators.measuring import Measured
from airflow_reindex_provider.operators.notes import KEEP_JOBS
from airflow_reindex_provider.operators.publishing import publish_standing

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_reindex_provider.stream import Stream

_STAMP_KEY = "reindex_stamp"
ONE_BATCH = Sizes(batch_rows=2**31, max_batches=1)
"""Airflow maps no task within a mapped task group, so one task copies all of a group, chunk by chunk."""


class _NoResume:
    """A window of a catch-up is short, and its checkpoint is what a retry goes on from."""

    def load(self) -> dict[str, Any] | None:
        return None

    def save(self, value: dict[str, Any]) -> None: ...

    def clear(self) -> None: ...


class PrepareRebuildOperator(LeasingOperator):
    """Takes the stream's lease, or waits for it, and plans: makes the new generation and returns the batches of its copy.
    With ``rollback_to`` it chooses a generation that was served before, and returns none.

    Its name is the XCom ``reindex_generation``, the plan without its batches ``reindex_plan``.

    :param stream: what to rebuild.
    :param rollback_to: ``previous`` or a generation's name; empty for a rebuild. A template.
    """

    role = REBUILD
    mode = Mode.REBUILD
    tells_events = True
    reads_source = True
    template_fields: Sequence[str] = ("group", "wait", "rollback_to")

    def __init__(self, *, rollback_to: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rollback_to = rollback_to

    def execute(self, context: Context) -> list[dict[str, Any]]:
        require_known(context)
        stream, ti = self.own, context["ti"]
        self.take(lease_of(stream, context, Mode.REBUILD, self.lease), context)
        to = (self.rollback_to or "").strip()
        if to and to != "None":
            with stream.target.open(stream.name) as target:
                generation = begin_rollback(stream.name, to, target=target)
            ti.xcom_push(key=GENERATION_KEY, value=generation)
            self.log.info("Stream %r is rolled back to generation %s.", stream.name, generation)
            return []
        with (
            tracing.planning(stream.name, Mode.REBUILD) as span,
            stream.opened() as opened,
        ):
            self.touched.stream, self.touched.schema = stream, opened.source.schema()
            plan = begin_rebuild(
                opened,
                stream.target.generation_name(_stamp(context)),
                group=self.group,
                route=stream.route,
                guarantee=stream.target.guarantee,
                initial_value=stream.first_cursor,
                sizes=stream.sizes if self.group is None else ONE_BATCH,
            )
            tracing.planned(span, plan)
        self.touched.rows = plan.rows
        tell(f"Stream {plan.stream!r}", plan.held_by, plan.warnings)
        said = f"{plan.rows:,} rows in {len(plan.batches)} batches"
        self.log.info("Stream %r: %s go into generation %s.", stream.name, said, plan.generation)
        ti.xcom_push(key=GENERATION_KEY, value=plan.generation)
        ti.xcom_push(key=PLAN_KEY, value=plan.to_json())
        figures = {"generation": plan.generation, "rows": plan.rows, "batches": len(plan.batches)}
        self.tell_event(context, Event.REBUILD_STARTED, group=self.group, **figures)
        return tracing.batches(span, plan.batches)


def _stamp(context: Context) -> str:
    """The same in every try, so that a retry finds what an earlier one has made; and later than the generations of those who
    were waited for."""
    kept = context["task_state_store"]
    stamp = kept.get(_STAMP_KEY) or utc_now().strftime("%Y%m%dt%H%M%S")
    kept.set(_STAMP_KEY, stamp, retention=KEEP_JOBS)
    return str(stamp)


class CopyBatchOperator(IndexBatchOperator):
    """Indexes one batch of a rebuild: keeps the run's lease, and to a rate.

    :param throttle_docs_per_s: of this task; 0 or empty for as fast as it goes. A template. :param share: tasks that share it.
    """

    mode = Mode.REBUILD
    template_fields: Sequence[str] = ("throttle_docs_per_s",)

    def __init__(
        self,
        *,
        throttle_docs_per_s: float | str = 0,
        share: int = 1,
        lease: timedelta = DEFAULT_LEASE,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.throttle_docs_per_s = throttle_docs_per_s
        self.share = share
        self.lease = lease

    def pace(self, context: Context) -> Callable[[int], None]:
        batch = Batch.from_json(self.batch)
        keeper = lease_of(self.stream_of(batch.group), context, Mode.REBUILD, self.lease)
        keeper.keep()
        rate = float(self.throttle_docs_per_s or 0)
        tasks = self.share if batch.group is not None else min(self.share, batch.of)
        throttle = Throttle(rate / tasks, should_stop=self.should_stop) if rate > 0 else None

        def paced(documents: int) -> None:
            keeper.keep()
            if throttle is not None:
                throttle(documents)

        return paced


class RebuildOperator(OfGroupOperator):
    """A later task of a rebuild.

    :param prepare_task_id: the first one. :param copy_task_id: the mapped one. :param max_lag_s: seconds that the last window of
        a catch-up may have taken. A template.
    """

    mode = Mode.REBUILD
    template_fields: Sequence[str] = ("group", "max_lag_s")

    def __init__(
        self,
        *,
        stream: Stream,
        prepare_task_id: str,
        copy_task_id: str,
        lease: timedelta = DEFAULT_LEASE,
        max_lag_s: float | str = 60,
        **kwargs: Any,
    ) -> None:
        super().__init__(stream=stream, **kwargs)
        self.prepare_task_id = prepare_task_id
        self.copy_task_id = copy_task_id
        self.lease = lease
        self.max_lag_s = max_lag_s

    def generation(self, context: Context) -> str:
        found = self.pull(context, self.prepare_task_id, GENERATION_KEY)
        if not found:
            raise AirflowFailException(
                f"Stream {self.own.name!r}: there is no generation, since task {self.prepare_task_id!r} did not finish; its"
                " log says why. The live generation is as it was."
            )
        return str(found)

    def plan(self, context: Context) -> Plan | None:
        """None in a rollback, which copies nothing."""
        planned = self.pull(context, self.prepare_task_id, PLAN_KEY)
        batches = self.pull(context, self.prepare_task_id)
        return Plan.from_json(planned, batches) if planned else None

    def keeper(self, context: Context) -> Keeper:
        """Of the lease; ends the task as skipped where the run has not got it."""
        skip_if_busy(self.pull(context, self.prepare_task_id, BUSY_KEY))
        return lease_of(self.own, context, Mode.REBUILD, self.lease)

    def bring_up_to_date(self, context: Context) -> CaughtUp:
        stream, keeper = self.own, self.keeper(context)
        keeper.keep()
        self.touched.stream, self.touched.generation = stream, self.generation(context)
        with stream.opened() as opened:
            self.touched.schema = opened.source.schema()

            def index(batch: Batch) -> BatchResult:
                return index_into(
                    stream,
                    batch,
                    source=opened.source,
                    target=opened.target,
                    progress=self.track(context, batch),
                    resume=_NoResume(),
                    should_stop=self.should_stop,
                    pace=lambda documents: keeper.keep(),
                    measured=Measured(self.stream, Mode.REBUILD),
                )

            caught = catch_up(
                opened,
                self.generation(context),
                index=index,
                run=str(context["run_id"]),
                max_lag=timedelta(seconds=float(self.max_lag_s)),
                max_failures=stream.max_failures,
                initial_value=stream.first_cursor,
                sizes=stream.sizes,
            )
        tell(f"Stream {stream.name!r}", caught.held_by, caught.warnings)
        self.log.info("Generation %s stands at %s.", caught.generation, caught.position)
        return caught

    def tell_swap(self, context: Context, promoted: dict[str, Any]) -> None:
        """The event ``swap.completed`` or ``rollback.completed``. :param promoted: what the task that swapped returned."""
        event = Event.SWAP_COMPLETED if self.plan(context) is not None else Event.ROLLBACK_COMPLETED
        figures = {name: promoted[name] for name in ("generation", "processed", "carried_over", "parked")}
        self.tell_event(context, event, group=self.group, **figures)


class CatchUpOperator(RebuildOperator):
    """Saves the new generation's checkpoint after the copy, and brings it up to date while the live one serves on."""

    reads_source = True
    writes_index = True

    def execute(self, context: Context) -> dict[str, Any]:
        plan = self.plan(context)
        self.keeper(context).keep()
        if plan is not None:
            copied = results_of(self.pull(context, self.copy_task_id))
            results = [BatchResult.from_json(result) for result in copied]
            require_complete(settled(self.own, plan, results, run=str(context["run_id"])))
        return self.bring_up_to_date(context).to_json()


class VerifyOperator(RebuildOperator):
    """Compares the new generation with the source; in a rollback there is nothing to verify, and it is skipped.

    :param min_size_ratio: the least size, as a part of the live generation's. :param hold: how long the lease is kept from
        here on, where a person or the other groups are waited for.
    """

    template_fields: Sequence[str] = ("group", "max_lag_s", "promote")
    reads_source = True
    reads_index = True

    def __init__(self, *, min_size_ratio: float, promote: str, hold: timedelta, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.min_size_ratio = min_size_ratio
        self.promote = promote
        self.hold = hold

    def execute(self, context: Context) -> dict[str, Any]:
        stream, keeper = self.own, self.keeper(context)
        keeper.extend(self.lease + (self.hold if self.promote in (WAIT, ALL) else timedelta(0)))
        if self.plan(context) is None:
            raise AirflowSkipException("A rollback: the generation has been served before.")
        self.touched.stream, self.touched.generation = stream, self.generation(context)
        with stream.opened() as opened:
            checked = verify(
                opened,
                self.generation(context),
                transform=stream.transform,
                min_size_ratio=self.min_size_ratio,
                initial_value=stream.first_cursor,
            ).to_json()
        self.log.info("Verified: %s.", ", ".join(f"{name} {n}" for name, n in checked.items()))
        return checked


class PromoteOperator(RebuildOperator):
    """Brings the generation up to date once more, points the public name at it in one atomic step, and reads on from there.
    That is the event ``swap.completed`` or ``rollback.completed``; of a group whoever retires it tells it."""

    tells_events = True
    reads_source = True
    writes_index = True

    def execute(self, context: Context) -> dict[str, Any]:
        stream = self.own
        generation = self.bring_up_to_date(context).generation
        with stream.opened() as opened:
            carried = promote(opened, generation)
        self.touched.swapped = True
        self.log.info("Generation %s of stream %r is served now.", generation, stream.name)
        # The one before may have been a run ahead.
        done = {**self.bring_up_to_date(context).to_json(), "carried_over": carried}
        if self.group is None:
            self.tell_swap(context, done)
        return done


class RetireOperator(RebuildOperator):
    """Closes a rebuild, whatever became of it: gives the lease back, and drops what is past ``retain`` after a swap.

    :param promote_task_id: the task that swaps. :param retain: how many generations stay beside the live one.
    :param catch_up_task_id: the one before it, where it is for this task to close.
    """

    writes_index = True

    def __init__(
        self, *, promote_task_id: str, retain: int, catch_up_task_id: str | None = None, **kwargs: Any
    ) -> None:
        kwargs.setdefault("trigger_rule", TriggerRule.ALL_DONE)
        super().__init__(**kwargs)
        self.promote_task_id = promote_task_id
        self.retain = retain
        self.catch_up_task_id = catch_up_task_id

    def execute(self, context: Context) -> dict[str, Any]:
        stream, keeper, plan = self.own, self.keeper(context), self.plan(context)
        self._close_progress(context)
        generation = self.pull(context, self.prepare_task_id, GENERATION_KEY)
        self.touched.stream, self.touched.generation = stream, generation
        dropped: tuple[str, ...] = ()
        with stream.target.open(stream.name) as target:
            # Not what the promoting task says: it may have died after the swap.
            served = any(g.live and g.name == generation for g in target.generations())
            if served and plan is not None:
                keeper.keep()
                dropped = retire(stream.name, target=target, store=stream.checkpoint, retain=self.retain)
            kept = [g.name for g in target.generations()]
        keeper.release()
        publish_standing(context, stream, plan.cursor_type if plan else None, Mode.REBUILD, group=self.group)
        self._measure(context, served=served)
        if not served:
            raise AirflowFailException(
                f"Stream {stream.name!r}: nothing was promoted, and the live generation is as it was; the failed task's log says"
                " why. Clear that task to go on with what is there, or trigger a new run, which drops it."
            )
        if not self.pull(context, self.promote_task_id):
            raise AirflowFailException(
                f"Stream {stream.name!r}: generation {generation!r} is served, but task {self.promote_task_id!r} failed after the"
                " swap; its log says why. Nothing is lost: the next run of the stream reads on from its checkpoint."
            )
        return {"generation": generation, "generations": kept, "dropped": list(dropped)}

    def _measure(self, context: Context, *, served: bool) -> None:
        copied = [BatchResult.from_json(result) for result in results_of(self.pull(context, self.copy_task_id))]
        counts = sum((result.counts for result in copied), Counts())
        report = {"status": "completed" if served else "failed", **counts.to_json()}
        Measured(self.stream, Mode.REBUILD).run(context, report, copied)

    def _close_progress(self, context: Context) -> None:
        here = -1 if self.group is None else int(context["ti"].map_index or 0)
        for task_id in filter(None, (self.catch_up_task_id, self.promote_task_id)):
            if not self.pull(context, task_id):
                close_progress(context, task_id, [here])
        copied = results_of(self.pull(context, self.copy_task_id))
        if self.group is not None:
            close_progress(context, self.copy_task_id, [] if copied else [here])
        elif (plan := self.plan(context)) is not None:
            done = {result["batch"]["number"] for result in copied}
            close_progress(context, self.copy_task_id, (b.number for b in plan.batches if b.number not in done))
