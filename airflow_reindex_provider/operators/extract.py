"""Plans a run: finds what changed and cuts it into batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pendulum

from airflow_reindex_provider.core.errors import WindowError
from airflow_reindex_provider.core.groups import GroupPlans, SharedPlanning, grouped, list_groups, plan_groups
from airflow_reindex_provider.core.model import Mode, Plan, Slices, Window
from airflow_reindex_provider.core.opened import Opened
from airflow_reindex_provider.core.planning import make_plan
from airflow_reindex_provider.core.protocols import PlanningSource, SourceSession
from airflow_reindex_provider.core.published import ACTION_KEY, PLAN_KEY
from airflow_reindex_provider.core.running.estimating import MOST_ROWS, MOST_ROWS_OF_GROUP, estimate
from airflow_reindex_provider.core.running.indexing import embedding_target
from airflow_reindex_provider.core.windows import Request
from airflow_reindex_provider.events import Event
from airflow_reindex_provider.operators import tracing
from airflow_reindex_provider.operators.acting import Asked, asked_of
from airflow_reindex_provider.operators.base import StreamOperator, is_true, tell
from airflow_reindex_provider.operators.conf import require_known
from airflow_reindex_provider.operators.measuring import Measured

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_reindex_provider.stream import Stream

WINDOW = ("window_start", "window_end")
"""Fields of the trigger form."""


class ExtractChangesOperator(StreamOperator):
    """Surveys the source and plans the run; returns its batches for a mapped :class:`IndexBatchOperator`.

    What the run stands for: the window of the arguments, where they are given; the data interval, in a backfill; else
    everything between the checkpoint and the horizon. The plan without its batches is the XCom ``reindex_plan``.

    A run that has something to index is the event ``run.started``.

    A run whose conf has an ``action`` does that instead, and returns no batches; the answer is the XCom ``reindex_action``. See
    ``control.acts`` for what there is.

    :param stream: what to plan for.
    :param window_start: first cursor value, ISO 8601 or a number. :param window_end: the value to stop before; default:
        the horizon. Both are templates; empty means not given. A window leaves the checkpoint alone.
    :param plan_only: plan and report, write nothing, return no batches. A template.
    """

    template_fields: Sequence[str] = ("window_start", "window_end", "plan_only")
    tells_events = True
    reads_source = True

    def __init__(
        self,
        *,
        stream: Stream,
        window_start: str | None = None,
        window_end: str | None = None,
        plan_only: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(stream=stream, **kwargs)
        self.window_start = window_start
        self.window_end = window_end
        self.plan_only = plan_only
        self._templates = (window_start, window_end, plan_only)

    def execute(self, context: Context) -> list[dict[str, Any]]:
        if (asked := asked_of(context, self.stream)) is not None:
            self._do(context, asked)
            return []
        require_known(context, self._templates)
        stream = self.stream
        request = self._request(context)
        stamp = pendulum.now("UTC").format("YYYYMMDD[t]HHmmss")
        plan: Plan | GroupPlans
        with tracing.planning(stream.name, request.mode) as span, stream.source.open() as source:
            if stream.has_groups:
                plan = self._plan_groups(request, source, stamp, run=str(context["run_id"]))
            else:
                plan = self._plan(stream, request, source, stamp)
                self._tell(plan)
                self._tell_embedding(plan)
                Measured(stream, plan.mode).plan(plan)
            tracing.planned(span, plan)
            # Not before: planning looks at the source anew.
            self.touched.schema = source.schema()
        self.touched.rows = plan.rows
        context["ti"].xcom_push(key=PLAN_KEY, value=plan.to_json())
        if plan.batches and not plan.dry_run:
            figures = {"mode": str(plan.mode), "rows": plan.rows, "batches": len(plan.batches), "held_by": plan.held_by}
            index = f"{self.task_id.removesuffix('extract')}index"
            self.tell_event(context, Event.RUN_STARTED, **figures, index_task_id=index)
        return [] if plan.dry_run else tracing.batches(span, plan.batches)

    def _do(self, context: Context, asked: Asked) -> None:
        from airflow_reindex_provider.control.doing import do

        answer = do(self.stream, asked.action, asked.arguments)
        for line in answer["lines"]:
            self.log.info("%s", line)
        context["ti"].xcom_push(key=ACTION_KEY, value=answer)

    def _plan(
        self, stream: Stream, request: Request, source: PlanningSource, stamp: str, *, group: str | None = None
    ) -> Plan:
        with stream.target.open(stream.name) as target:
            plan = make_plan(
                Opened(stream.name, source, target, stream.checkpoint),
                request,
                new_generation=stream.target.generation_name(stamp),
                route=stream.route,
                group=group,
                guarantee=stream.target.guarantee,
                initial_value=stream.first_cursor,
                sizes=stream.sizes,
            )
            if not plan.dry_run or stream.embed is None:
                return plan
            with stream.source.open() as reading:
                embedding = estimate(
                    plan,
                    source=reading,
                    target=embedding_target(target, stream.name),
                    embed=stream.embed,
                    transform=stream.transform,
                    most_rows=MOST_ROWS if group is None else MOST_ROWS_OF_GROUP,
                )
            return replace(plan, embedding=embedding)

    def _plan_groups(self, request: Request, source: SourceSession, stamp: str, *, run: str) -> GroupPlans:
        stream = self.stream
        survey = source.survey()
        groups = list_groups(
            stream.name,
            request,
            source=grouped(source, stream.name),
            survey=survey,
            store=stream.checkpoint,
            run=run,
            route=stream.route,
        )
        cuts: dict[Window, Slices] = {}

        def plan(value: str) -> Plan:
            own = stream.of_group(value)
            return self._plan(own, request, SharedPlanning(source, survey, cuts, own.source.open), stamp, group=value)

        plans = plan_groups(stream.name, request, groups, plan, max_batches=stream.max_batches)
        if (whole := plans.as_one) is not None:
            self._tell(whole)
        for planned in plans.plans:
            self.log.info("%s: %s rows in %d batches.", planned.stream, f"{planned.rows:,}", len(planned.batches))
            self._tell_embedding(planned)
        for value, why in plans.failures.items():
            self.log.error("Group %r is left out of this run: %s", value, why)
        if plans.nulls:
            self.log.warning("Stream %r: %d changed rows have no group and are in no index.", stream.name, plans.nulls)
        return plans

    def _request(self, context: Context) -> Request:
        dry_run = is_true("plan_only", self.plan_only)
        start, end = (_given(bound) for bound in (self.window_start, self.window_end))
        run: Any = context["dag_run"]
        if run.run_type == "backfill" and any(_given((run.conf or {}).get(field)) for field in WINDOW):
            raise WindowError(
                f"Backfill run {run.run_id!r} of stream {self.stream.name!r} has a window of its own in its conf, which every run"
                " of the backfill would index again: each stands for its interval. Leave the window empty there, or trigger a"
                " single run with it."
            )
        if start is not None or end is not None:
            return Request(Mode.BACKFILL, start, end, dry_run)
        if run.run_type != "backfill":
            return Request(Mode.INCREMENTAL, dry_run=dry_run)
        start, end = run.data_interval_start, run.data_interval_end
        if start is None or end is None or start == end:
            raise WindowError(
                f"Backfill run {run.run_id!r} of stream {self.stream.name!r} has no data interval, so it stands for no rows: a"
                " plain cron string gives empty intervals. Give the Dag"
                ' schedule=CronDataIntervalTimetable("@daily", timezone="UTC"), or use ReindexDag, which makes it from a cron'
                " string by itself."
            )
        return Request(Mode.BACKFILL, start, end, dry_run)

    def _tell(self, plan: Plan) -> None:
        tell(f"Stream {plan.stream!r}", plan.held_by, plan.warnings)
        if plan.null_cursors:
            self.log.warning(
                "Stream %r: %d rows have no value in the cursor field and are left out.", plan.stream, plan.null_cursors
            )
        self.log.info(
            "Stream %r, %s%s: %s rows in %d batches.",
            plan.stream,
            plan.mode,
            ", dry run" if plan.dry_run else "",
            f"{plan.rows:,}",
            len(plan.batches),
        )
        self.log.info("Window: %s.", plan.window or "none, nothing new is safe to read")
        self.log.info("Horizon: %s (%s).", plan.horizon, plan.horizon_basis)
        self.log.info("Generation: %s, guarantee %s.", plan.generation, plan.guarantee)

    def _tell_embedding(self, plan: Plan) -> None:
        if plan.embedding:
            self.log.info(
                "%s: of %s passages %s are reused and %s would be embedded: about %s tokens in %s requests. By %s of its rows.",
                plan.stream,
                *(f"{plan.embedding[name]:,}" for name in ("passages", "reused", "embedded", "tokens", "requests")),
                f"{plan.embedding['rows_read']:,}",
            )


def _given(bound: Any) -> Any:
    """A template that renders an absent parameter gives an empty text or the word None."""
    return None if bound is None or (isinstance(bound, str) and bound.strip() in ("", "None")) else bound
