"""The Dag that rebuilds a stream's index, and rolls it back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param, TriggerRule, task_group

from airflow_reindex_provider.core.leases import DEFAULT_LEASE
from airflow_reindex_provider.dags.common import FIRST_DAY, common_arguments
from airflow_reindex_provider.operators.base import RETRY_POLICY
from airflow_reindex_provider.operators.groups import GROUPS_PARAM, ListGroupsOperator
from airflow_reindex_provider.operators.index import MAP_INDEX_TEMPLATE
from airflow_reindex_provider.operators.rebuild import (
    ALL,
    PER_GROUP,
    WAIT,
    ApproveSwapOperator,
    CatchUpOperator,
    CopyBatchOperator,
    PrepareRebuildOperator,
    PromoteOperator,
    RetireOperator,
    VerifyOperator,
)
from airflow_reindex_provider.operators.rebuild_groups import (
    CloseGroupOperator,
    CopyGroupOperator,
    GroupsReadyOperator,
    PromoteGroupOperator,
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

GROUP_REBUILD_PARAMS: dict[str, Param] = {
    **REBUILD_PARAMS,
    "promote": Param(
        PER_GROUP,
        enum=[PER_GROUP, ALL, WAIT],
        title="Promote",
        description="per_group: each group as soon as it is verified. all: none before all are. wait: the same, and a person"
        " approves.",
    ),
    "groups": GROUPS_PARAM,
    "rollback_to": Param(
        None,
        enum=[None, "previous"],
        title="Roll back to",
        description="previous: bring each group's generation before the live one up to date and serve it again, instead of a"
        " rebuild.",
    ),
}
"""Trigger form of a rebuild of a stream with groups."""

_ROLLBACK_TO = "{{ params.get('rollback_to') or '' }}"
_RATE = "{{ params.get('throttle_docs_per_s') or 0 }}"


class RebuildDag(DAG):
    """Makes one stream's index anew beside the live one, and swaps it in without losing a write; the Dag registers itself.

    ``prepare -> copy (mapped) -> catch_up -> verify -> approve -> promote -> retire``. The stream's ReindexDag keeps serving
    the live generation meanwhile. A stream with groups has these steps for each of them. One command rolls back: ``airflow
    dags trigger rebuild_products --conf '{"rollback_to": "previous"}'``.

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
        start_date: datetime = FIRST_DAY,
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
            params={**(GROUP_REBUILD_PARAMS if stream.has_groups else REBUILD_PARAMS), **kwargs.pop("params", {})},
            **kwargs,
        )
        arguments = _Arguments(
            stream=stream,
            task_args=common_arguments(task_args),
            pool={"pool": pool} if pool else {},
            max_lag_s=f"{{{{ params.get('max_lag_s') or {max_lag.total_seconds()} }}}}",
            min_size_ratio=min_size_ratio,
            retain=retain,
            lease=lease,
            approval_timeout=approval_timeout,
            max_active_batches=max_active_batches,
        )
        with self:
            if stream.has_groups:
                _group_tasks(arguments)
            else:
                _tasks(arguments)


@dataclass(frozen=True, kw_only=True)
class _Arguments:
    """What the tasks of a rebuild are made of."""

    stream: Stream
    task_args: dict[str, Any]
    pool: dict[str, str]
    max_lag_s: str
    min_size_ratio: float
    retain: int
    lease: timedelta
    approval_timeout: timedelta
    max_active_batches: int

    @property
    def of_all(self) -> dict[str, Any]:
        return {"stream": self.stream, "lease": self.lease, **self.task_args}

    @property
    def later(self) -> dict[str, Any]:
        # A rollback copies and verifies nothing: what is skipped holds nothing up.
        return {**self.of_all, "max_lag_s": self.max_lag_s, "trigger_rule": TriggerRule.NONE_FAILED}

    @property
    def mapped(self) -> dict[str, Any]:
        return {
            "map_index_template": MAP_INDEX_TEMPLATE,
            "max_active_tis_per_dagrun": self.max_active_batches,
            "retry_policy": RETRY_POLICY,
        }


def _tasks(of: _Arguments) -> None:
    prepare = PrepareRebuildOperator(task_id="prepare", rollback_to=_ROLLBACK_TO, **of.of_all)
    copy = CopyBatchOperator.partial(
        task_id="copy", throttle_docs_per_s=_RATE, share=of.max_active_batches, **of.mapped, **of.of_all, **of.pool
    ).expand(batch=prepare.output)
    later = {"prepare_task_id": prepare.task_id, "copy_task_id": copy.task_id, **of.later}
    catch_up = CatchUpOperator(task_id="catch_up", **later)
    check = VerifyOperator(
        task_id="verify",
        min_size_ratio=of.min_size_ratio,
        promote="{{ params.get('promote', 'automatic') }}",
        hold=of.approval_timeout,
        **later,
    )
    approve = ApproveSwapOperator(
        task_id="approve", response_timeout=of.approval_timeout, trigger_rule=TriggerRule.NONE_FAILED
    )
    swap = PromoteOperator(task_id="promote", **later)
    close = RetireOperator(
        task_id="retire",
        promote_task_id=swap.task_id,
        retain=of.retain,
        **{**later, "trigger_rule": TriggerRule.ALL_DONE},
    )
    prepare >> copy >> catch_up >> check >> approve >> swap >> close


def _group_tasks(of: _Arguments) -> None:
    """See ``operators.rebuild_groups``."""
    label: dict[str, Any] = {"map_index_template": MAP_INDEX_TEMPLATE}
    promote: dict[str, Any] = {"promote": f"{{{{ params.get('promote', '{PER_GROUP}') }}}}"}
    closing = {"retain": of.retain, **label, **of.later, "trigger_rule": TriggerRule.ALL_DONE}
    ids: dict[str, Any] = {"prepare_task_id": "each.prepare", "copy_task_id": "each.copy"}

    @task_group(group_id="each")
    def each(group: Any) -> None:
        prepare = PrepareRebuildOperator(task_id="prepare", group=group, rollback_to=_ROLLBACK_TO, **label, **of.of_all)
        copy = CopyGroupOperator(
            task_id="copy",
            group=group,
            prepare_task_id=prepare.task_id,
            throttle_docs_per_s=_RATE,
            share=of.max_active_batches,
            **of.mapped,
            **of.of_all,
            **of.pool,
        )
        later = {"group": group, **ids, **label, **of.later}
        catch_up = CatchUpOperator(task_id="catch_up", **later)
        check = VerifyOperator(
            task_id="verify", min_size_ratio=of.min_size_ratio, hold=of.approval_timeout, **promote, **later
        )
        swap = PromoteGroupOperator(task_id="promote", **promote, **later)
        close = CloseGroupOperator(
            task_id="close",
            group=group,
            catch_up_task_id=catch_up.task_id,
            verify_task_id=check.task_id,
            promote_task_id=swap.task_id,
            **ids,
            **promote,
            **closing,
        )
        prepare >> copy >> catch_up >> check >> swap >> close

    @task_group(group_id="serve")
    def serve(group: Any) -> None:
        swap = PromoteOperator(task_id="promote", group=group, **ids, **label, **of.later)
        close = RetireOperator(task_id="retire", group=group, promote_task_id=swap.task_id, **ids, **closing)
        swap >> close

    groups = ListGroupsOperator(task_id="groups", stream=of.stream, **of.task_args)
    ready = GroupsReadyOperator(
        task_id="ready",
        stream=of.stream,
        groups_task_id=groups.task_id,
        close_task_id="each.close",
        **promote,
        **of.task_args,
    )
    approve = ApproveSwapOperator(task_id="approve", response_timeout=of.approval_timeout)
    each.expand(group=groups.output) >> ready >> approve >> serve.expand(group=ready.output)
