"""The Dag that rebuilds a stream's index, and rolls it back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from airflow.sdk import TriggerRule, task_group

from airflow_reindex_provider.core.leases import DEFAULT_LEASE
from airflow_reindex_provider.core.rebuilding.promoting import PER_GROUP
from airflow_reindex_provider.dags.common import MAX_ACTIVE_BATCHES, WAIT_FOR_LEASE, StreamDag, Tasks
from airflow_reindex_provider.dags.forms import GROUP_REBUILD_PARAMS, REBUILD_PARAMS
from airflow_reindex_provider.events import Event, event_asset
from airflow_reindex_provider.operators.approving import ApproveSwapOperator
from airflow_reindex_provider.operators.groups import ListGroupsOperator
from airflow_reindex_provider.operators.index import MAP_INDEX_TEMPLATE
from airflow_reindex_provider.operators.leases import DEFAULT_MAX_WAIT
from airflow_reindex_provider.operators.rebuild import (
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
    RetireGroupOperator,
)
from airflow_reindex_provider.stream import Stream

_ROLLBACK_TO = "{{ params.get('rollback_to') or '' }}"
_RATE = "{{ params.get('throttle_docs_per_s') or 0 }}"
_OF_EACH_GROUP = (Event.REBUILD_STARTED, Event.SWAP_COMPLETED, Event.ROLLBACK_COMPLETED)
_LABEL: dict[str, Any] = {"map_index_template": MAP_INDEX_TEMPLATE}


class RebuildDag(StreamDag):
    """Makes one stream's index anew beside the live one, and swaps it in without losing a write; the Dag registers itself.

    ``prepare -> copy (mapped) -> catch_up -> verify -> approve -> promote -> retire``. The stream's ReindexDag keeps serving
    the live generation meanwhile. A stream with groups has these steps for each of them. One command rolls back: ``airflow
    dags trigger rebuild_products --conf '{"rollback_to": "previous"}'``.

    :param stream: what to rebuild.
    :param max_lag: how long the last window before the swap may have taken; default a minute. The form can say otherwise.
    :param min_size_ratio: the new index must have this part of the live one's documents; default 0.5.
    :param retain: generations kept for a rollback, beside the live one; default 1.
    :param lease: how long a run that died keeps others out; default 15 minutes.
    :param max_wait: how long a scheduled run waits, deferred, for another rebuild or sweep of the stream before it ends as
        skipped; default six hours.
    :param approval_timeout: how long a person is waited for; default a day.
    :param max_active_batches: mapped tasks of one run at the same time; default 16.
    :param kwargs: see :class:`~airflow_reindex_provider.dags.common.StreamDag`.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        max_lag: timedelta = timedelta(minutes=1),
        min_size_ratio: float = 0.5,
        retain: int = 1,
        lease: timedelta = DEFAULT_LEASE,
        max_wait: timedelta = DEFAULT_MAX_WAIT,
        approval_timeout: timedelta = timedelta(days=1),
        max_active_batches: int = MAX_ACTIVE_BATCHES,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("description", f"Rebuilds {stream.target.label} beside the live one")

        def make_tasks(of: Tasks) -> None:
            make = _group_tasks if stream.has_groups else _tasks
            make(
                _Rebuild(
                    of=of,
                    max_lag=max_lag,
                    min_size_ratio=min_size_ratio,
                    retain=retain,
                    lease=lease,
                    max_wait=max_wait,
                    approval_timeout=approval_timeout,
                )
            )

        super().__init__(
            stream,
            prefix="rebuild",
            form=GROUP_REBUILD_PARAMS if stream.has_groups else REBUILD_PARAMS,
            max_active=max_active_batches,
            make_tasks=make_tasks,
            **kwargs,
        )


@dataclass(frozen=True, kw_only=True)
class _Rebuild:
    """What the tasks of a rebuild are made with."""

    of: Tasks
    max_lag: timedelta
    min_size_ratio: float
    retain: int
    lease: timedelta
    max_wait: timedelta
    approval_timeout: timedelta

    @property
    def all(self) -> dict[str, Any]:
        return {"lease": self.lease, **self.of.all}

    @property
    def preparing(self) -> dict[str, Any]:
        return {"rollback_to": _ROLLBACK_TO, "wait": WAIT_FOR_LEASE, "max_wait": self.max_wait, **self.all}

    @property
    def copying(self) -> dict[str, Any]:
        rate = {"throttle_docs_per_s": _RATE, "share": self.of.max_active}
        return {"lease": self.lease, **rate, **self.of.mapped}

    @property
    def later(self) -> dict[str, Any]:
        max_lag_s = f"{{{{ params.get('max_lag_s') or {self.max_lag.total_seconds()} }}}}"
        # A rollback copies and verifies nothing: what is skipped holds nothing up.
        return {**self.all, "max_lag_s": max_lag_s, "trigger_rule": TriggerRule.NONE_FAILED}

    @property
    def verifying(self) -> dict[str, Any]:
        return {**self.later, "min_size_ratio": self.min_size_ratio, "hold": self.approval_timeout}

    @property
    def closing(self) -> dict[str, Any]:
        return {**self.later, "retain": self.retain, "trigger_rule": TriggerRule.ALL_DONE}

    @property
    def approving(self) -> dict[str, Any]:
        # One at least: see ApproveSwapOperator.
        retries = max(1, self.of.plain["retries"] or 0)
        return {**self.of.plain, "retries": retries, "response_timeout": self.approval_timeout}


def _tasks(rebuild: _Rebuild) -> None:
    prepare = PrepareRebuildOperator(task_id="prepare", **rebuild.preparing)
    copy = CopyBatchOperator.partial(task_id="copy", **rebuild.copying).expand(batch=prepare.output)
    ids: dict[str, Any] = {"prepare_task_id": prepare.task_id, "copy_task_id": copy.task_id}
    catch_up = CatchUpOperator(task_id="catch_up", **ids, **rebuild.later)
    promote = "{{ params.get('promote', 'automatic') }}"
    check = VerifyOperator(task_id="verify", promote=promote, **ids, **rebuild.verifying)
    approve = ApproveSwapOperator(
        task_id="approve",
        prepare_task_id=prepare.task_id,
        **{**rebuild.approving, "trigger_rule": TriggerRule.NONE_FAILED},
    )
    swap = PromoteOperator(task_id="promote", **ids, **rebuild.later)
    close = RetireOperator(
        task_id="retire",
        catch_up_task_id=catch_up.task_id,
        promote_task_id=swap.task_id,
        **ids,
        **rebuild.closing,
    )
    prepare >> copy >> catch_up >> check >> approve >> swap >> close


def _group_tasks(rebuild: _Rebuild) -> None:
    """See ``operators.rebuild_groups``."""
    promote: dict[str, Any] = {"promote": f"{{{{ params.get('promote', '{PER_GROUP}') }}}}"}
    ids: dict[str, Any] = {"prepare_task_id": "each.prepare", "copy_task_id": "each.copy", **_LABEL}

    @task_group(group_id="each")
    def each(group: Any) -> None:
        prepare = PrepareRebuildOperator(task_id="prepare", group=group, **_LABEL, **rebuild.preparing)
        copy = CopyGroupOperator(task_id="copy", group=group, prepare_task_id=prepare.task_id, **rebuild.copying)
        of = {"group": group, **ids}
        catch_up = CatchUpOperator(task_id="catch_up", **of, **rebuild.later)
        check = VerifyOperator(task_id="verify", **of, **promote, **rebuild.verifying)
        swap = PromoteGroupOperator(task_id="promote", **of, **promote, **rebuild.later)
        close = CloseGroupOperator(
            task_id="close",
            catch_up_task_id=catch_up.task_id,
            verify_task_id=check.task_id,
            promote_task_id=swap.task_id,
            **of,
            **promote,
            **rebuild.closing,
        )
        prepare >> copy >> catch_up >> check >> swap >> close

    @task_group(group_id="serve")
    def serve(group: Any) -> None:
        of = {"group": group, **ids}
        swap = PromoteOperator(task_id="promote", **of, **rebuild.later)
        close = RetireGroupOperator(task_id="retire", promote_task_id=swap.task_id, **of, **rebuild.closing)
        swap >> close

    # Airflow knows them from the Dag on. Made by the first event, they would be made twice where two groups tell theirs at one
    # moment, and Airflow fails the task that comes second.
    told = [event_asset(event, rebuild.of.stream.name) for event in _OF_EACH_GROUP]
    others = rebuild.of.all.get("inlets") or ()
    groups = ListGroupsOperator(task_id="groups", tells_start=True, **{**rebuild.of.all, "inlets": [*others, *told]})
    ready = GroupsReadyOperator(
        task_id="ready",
        groups_task_id=groups.task_id,
        group_task_id="each.close",
        lease_task_id=ids["prepare_task_id"],
        **promote,
        **rebuild.of.all,
    )
    approve = ApproveSwapOperator(task_id="approve", **rebuild.approving)
    each.expand(group=groups.output) >> ready >> approve >> serve.expand(group=ready.output)
