"""The Dag that rebuilds a stream's index, and rolls it back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pendulum
from airflow.sdk import DAG, Param, TriggerRule

from airflow_reindex_provider.core.leases import DEFAULT_LEASE
from airflow_reindex_provider.operators.base import DEFAULT_RETRIES, RETRY_POLICY
from airflow_reindex_provider.operators.index import MAP_INDEX_TEMPLATE
from airflow_reindex_provider.operators.rebuild import (
    ApproveSwapOperator,
    CatchUpOperator,
    CopyBatchOperator,
    PrepareRebuildOperator,
    PromoteOperator,
    RetireOperator,
    VerifyOperator,
)
from airflow_reindex_provider.stream import Stream

REBUILD_PARAMS: dict[str, Param] = {
    "promote": Param(
        "automatic",
        enum=["automatic", "wait"],
        title="Promote",
        description="wait: a person approves the swap, once the new index is verified.",
    ),
    "max_lag_s": Param(
        None,
        type=["number", "null"],
        exclusiveMinimum=0,
        title="Lag in seconds",
        description="Catching up ends with a window that took no longer than this. Empty: as the Dag says.",
    ),
    "throttle_docs_per_s": Param(
        0,
        type="number",
        minimum=0,
        title="Documents a second",
        description="Of all tasks of the copy together, at the most. 0: as fast as it goes.",
    ),
    "rollback_to": Param(
        None,
        type=["string", "null"],
        title="Roll back to",
        description="previous, or the name of a generation that was served: bring it up to date and serve it again, instead of"
        " a rebuild.",
    ),
}
"""Trigger form of a rebuild."""


class RebuildDag(DAG):
    """Makes one stream's index anew beside the live one, and swaps it in without losing a write; the Dag registers itself.

    ``prepare -> copy (mapped) -> catch_up -> verify -> approve -> promote -> retire``. The stream's ReindexDag keeps serving
    the live generation meanwhile. One command rolls back: ``airflow dags trigger rebuild_products --conf '{"rollback_to":
    "previous"}'``.

    :param stream: what to rebuild.
    :param dag_id: default ``rebuild_{stream.name}``. :param schedule: default: by hand only.
    :param max_lag: how long the last window before the swap may have taken; default a minute. The form can say otherwise.
    :param min_size_ratio: the new index must have this part of the live one's documents; default 0.5.
    :param retain: generations kept for a rollback, beside the live one; default 1.
    :param lease: how long a run that died keeps others out; default 15 minutes.
    :param approval_timeout: how long a person is waited for; default a day.
    :param max_active_batches: mapped tasks of one run at the same time; default 16.
    :param pool: pool of the mapped tasks. :param task_args: further arguments of all operators.
    :param kwargs: further arguments of the Dag; ``params`` are added to the trigger form.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        dag_id: str | None = None,
        schedule: Any = None,
        start_date: datetime = pendulum.datetime(2000, 1, 1, tz="UTC"),
        catchup: bool = False,
        max_lag: timedelta = timedelta(minutes=1),
        min_size_ratio: float = 0.5,
        retain: int = 1,
        lease: timedelta = DEFAULT_LEASE,
        approval_timeout: timedelta = timedelta(days=1),
        max_active_batches: int = 16,
        pool: str | None = None,
        task_args: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("max_active_runs", 1)
        kwargs.setdefault("description", f"Rebuilds {stream.target.label} beside the live one")
        super().__init__(
            dag_id=dag_id or f"rebuild_{stream.name}",
            schedule=schedule,
            start_date=start_date,
            catchup=catchup,
            tags={"reindex", *kwargs.pop("tags", ())},
            params={**REBUILD_PARAMS, **kwargs.pop("params", {})},
            **kwargs,
        )
        common = {"retries": DEFAULT_RETRIES, "retry_delay": timedelta(seconds=30), **(task_args or {})}
        with self:
            prepare = PrepareRebuildOperator(
                task_id="prepare",
                stream=stream,
                rollback_to="{{ params.get('rollback_to') or '' }}",
                lease=lease,
                **common,
            )
            copy = CopyBatchOperator.partial(
                task_id="copy",
                stream=stream,
                throttle_docs_per_s="{{ params.get('throttle_docs_per_s') or 0 }}",
                share=max_active_batches,
                lease=lease,
                map_index_template=MAP_INDEX_TEMPLATE,
                max_active_tis_per_dagrun=max_active_batches,
                retry_policy=RETRY_POLICY,
                **common,
                **({"pool": pool} if pool else {}),
            ).expand(batch=prepare.output)
            # A rollback copies and verifies nothing: what is skipped holds nothing up.
            later: dict[str, Any] = {
                "stream": stream,
                "prepare_task_id": prepare.task_id,
                "copy_task_id": copy.task_id,
                "lease": lease,
                "max_lag_s": f"{{{{ params.get('max_lag_s') or {max_lag.total_seconds()} }}}}",
                "trigger_rule": TriggerRule.NONE_FAILED,
                **common,
            }
            catch_up = CatchUpOperator(task_id="catch_up", **later)
            check = VerifyOperator(
                task_id="verify",
                min_size_ratio=min_size_ratio,
                promote="{{ params.get('promote', 'automatic') }}",
                hold=approval_timeout,
                **later,
            )
            approve = ApproveSwapOperator(
                task_id="approve", response_timeout=approval_timeout, trigger_rule=TriggerRule.NONE_FAILED
            )
            swap = PromoteOperator(task_id="promote", **later)
            close = RetireOperator(
                task_id="retire",
                promote_task_id=swap.task_id,
                retain=retain,
                **{**later, "trigger_rule": TriggerRule.ALL_DONE},
            )
            prepare >> copy >> catch_up >> check >> approve >> swap >> close
