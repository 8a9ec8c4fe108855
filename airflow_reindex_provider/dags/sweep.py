"""The Dag that finds and repairs what differs between a stream's source and its index."""

from __future__ import annotations

from copy import copy
from datetime import timedelta
from functools import partial
from typing import Any

from airflow.sdk import Param

from airflow_reindex_provider.core.sweeping.records import Compare
from airflow_reindex_provider.dags.common import WAIT_FOR_LEASE, StreamDag, Tasks
from airflow_reindex_provider.dags.forms import GROUPS_PARAM, SWEEP_PARAMS
from airflow_reindex_provider.operators.groups import ListGroupsOperator
from airflow_reindex_provider.operators.leases import DEFAULT_MAX_WAIT
from airflow_reindex_provider.operators.sweep import (
    AllowRepairsOperator,
    CompareKeysOperator,
    PlanSweepOperator,
    RepairKeysOperator,
    SweepReportOperator,
)
from airflow_reindex_provider.operators.sweep_groups import SweepGroupOperator, SweepGroupsReportOperator
from airflow_reindex_provider.stream import Stream

_OF_FORM = {
    "max_delete_fraction": "{{ params.get('max_delete_fraction', 0.05) }}",
    "report_only": "{{ params.get('dry_run', false) }}",
    "compare": "{{ params.get('compare', 'versions') }}",
    "wait": WAIT_FOR_LEASE,
}


class SweepDag(StreamDag):
    """Finds what differs between one stream's source and index, and repairs it; the Dag registers itself.

    Judges what lies below the stream's checkpoint, so it may run beside everything else. Missing and stale documents are
    indexed; those that are not in the source are deleted, after a look-up of each and up to ``max_delete_fraction``.

    :param stream: what to sweep.
    :param max_delete_fraction: default of the trigger form: the part of the index that may be deleted.
    :param compare: default of the trigger form: ``versions``, or ``content``, which finds rows too that were changed without
        their cursor field, and reads all rows and documents where source and index are not both Postgres.
    :param max_active_ranges: mapped tasks of one run at the same time; default 4, each with a connection to both sides.
    :param max_wait: how long a scheduled run waits, deferred, for a rebuild or another sweep of the stream before it ends as
        skipped; default six hours.
    :param kwargs: see :class:`~airflow_reindex_provider.dags.common.StreamDag`.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        max_delete_fraction: float = 0.05,
        compare: str = "versions",
        max_active_ranges: int = 4,
        max_wait: timedelta = DEFAULT_MAX_WAIT,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("description", f"Finds and repairs what differs in {stream.target.label}")
        form = {
            **SWEEP_PARAMS,
            "max_delete_fraction": _with_default("max_delete_fraction", max_delete_fraction),
            "compare": _with_default("compare", str(Compare(compare))),
            **({"groups": GROUPS_PARAM} if stream.has_groups else {}),
        }
        super().__init__(
            stream,
            prefix="sweep",
            form=form,
            max_active=max_active_ranges,
            make_tasks=partial(_group_tasks if stream.has_groups else _tasks, max_wait=max_wait),
            **kwargs,
        )


def _with_default(field: str, value: Any) -> Param:
    param = copy(SWEEP_PARAMS[field])
    param.value = value
    return param


def _tasks(of: Tasks, *, max_wait: timedelta) -> None:
    plan = PlanSweepOperator(task_id="plan", max_wait=max_wait, **_OF_FORM, **of.all)
    planned = {"plan_task_id": plan.task_id}
    compare = CompareKeysOperator.partial(task_id="compare", **planned, **of.mapped).expand(part=plan.output)
    allow = AllowRepairsOperator(task_id="allow", compare_task_id=compare.task_id, **planned, **of.all)
    repair = RepairKeysOperator.partial(task_id="repair", **planned, **of.mapped).expand(job=allow.output)
    report = SweepReportOperator(
        task_id="report",
        compare_task_id=compare.task_id,
        allow_task_id=allow.task_id,
        repair_task_id=repair.task_id,
        **planned,
        **of.all,
    )
    compare >> allow
    repair >> report


def _group_tasks(of: Tasks, *, max_wait: timedelta) -> None:
    """See ``operators.sweep_groups``."""
    groups = ListGroupsOperator(task_id="groups", **of.all)
    sweep = SweepGroupOperator.partial(task_id="sweep", max_wait=max_wait, **_OF_FORM, **of.mapped).expand(
        group=groups.output
    )
    report = SweepGroupsReportOperator(
        task_id="report",
        groups_task_id=groups.task_id,
        group_task_id=sweep.task_id,
        **of.all,
    )
    sweep >> report
