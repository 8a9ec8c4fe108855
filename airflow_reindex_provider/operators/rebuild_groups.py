"""The tasks that a rebuild of a stream with groups has besides: a group's copy, its end, and the barrier.

groups -> each [prepare -> copy -> catch_up -> verify -> promote -> close] -> ready -> approve -> serve [promote -> retire]

``each`` and ``serve`` are mapped over the groups. With ``per_group`` a group is promoted in ``each``, and ``serve`` is skipped;
else the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_reindex_provider.core.model import Batch, Mode
from airflow_reindex_provider.core.rebuilding.promoting import PER_GROUP
from airflow_reindex_provider.operators.base import lease_of
from airflow_reindex_provider.operators.groups import AllGroupsOperator
from airflow_reindex_provider.operators.rebuild import (
    CopyBatchOperator,
    PromoteOperator,
    RetireOperator,
)

if TYPE_CHECKING:
    from airflow.sdk import Context


class CopyGroupOperator(CopyBatchOperator):
    """Copies one group: what :class:`CopyBatchOperator` does, with the batches that the group's ``prepare`` returned.

    :param prepare_task_id: of the same group. :param group: its value. A template.
    """

    template_fields: Sequence[str] = ("group", "throttle_docs_per_s")

    def __init__(self, *, prepare_task_id: str, group: Any, **kwargs: Any) -> None:
        super().__init__(batch={}, **kwargs)
        self.prepare_task_id = prepare_task_id
        self.group = group

    def execute(self, context: Context) -> Any:
        ti = context["ti"]
        batches: Any = ti.xcom_pull(task_ids=self.prepare_task_id, map_indexes=ti.map_index)
        if not batches:
            raise AirflowSkipException(f"Nothing is to be copied for group {self.group!r}.")
        done = []
        for batch in batches:
            self.batch = batch
            done.append(self.index(context, Batch.from_json(batch)))
        return done


class PromoteGroupOperator(PromoteOperator):
    """Serves the group as soon as it is verified, where the form says so; else it is left to the barrier.

    :param promote: the form's. A template.
    """

    template_fields: Sequence[str] = ("group", "max_lag_s", "promote")

    def __init__(self, *, promote: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.promote = promote

    def execute(self, context: Context) -> dict[str, Any]:
        if self.promote != PER_GROUP:
            raise AirflowSkipException(f"promote is {self.promote}: group {self.group!r} waits for the others.")
        return super().execute(context)


class RetireGroupOperator(RetireOperator):
    """Retires one group, and tells that it is served: the events ``swap.completed`` and ``rollback.completed`` of groups.

    One group at a time: Airflow notes with the first event of its kind which alias it came by. Two groups that tell theirs at
    one moment would both note it, and Airflow fails the second one's task. Groups swap beside one another all the same."""

    tells_events = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "max_active_tis_per_dagrun": 1})

    def execute(self, context: Context) -> dict[str, Any]:
        closed = super().execute(context)
        self.tell_swap(context, self.pull(context, self.promote_task_id))
        return closed


class CloseGroupOperator(RetireGroupOperator):
    """Ends a group's part: retires it where it was promoted, fails where something has, and keeps the lease where the group is
    ready to be served with the others.

    :param promote: the form's. A template. :param catch_up_task_id: and :param verify_task_id: of the same group.
    """

    template_fields: Sequence[str] = ("group", "max_lag_s", "promote")

    def __init__(self, *, promote: str, catch_up_task_id: str, verify_task_id: str, **kwargs: Any) -> None:
        super().__init__(catch_up_task_id=catch_up_task_id, **kwargs)
        self.promote = promote
        self.verify_task_id = verify_task_id

    def execute(self, context: Context) -> dict[str, Any]:
        if self.promote != PER_GROUP:
            # A rollback verifies nothing.
            last = self.verify_task_id if self.plan(context) is not None else self.catch_up_task_id
            if last and self.pull(context, last):
                return {"generation": self.generation(context)}
        return super().execute(context)


class GroupsReadyOperator(AllGroupsOperator):
    """The barrier: passes once all groups are ready, and returns them to be served; none where each was served on its own.

    Fails where a group has failed, and names it. With ``promote`` other than ``per_group`` nothing is served then.

    :param promote: the form's. A template.
    """

    template_fields: Sequence[str] = ("promote",)

    def __init__(self, *, promote: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.promote = promote

    def execute(self, context: Context) -> list[str]:
        closed, busy = self.by_group(context), self.busy(context)
        failed = [group for group, result in closed.items() if not result and group not in busy]
        each = self.promote == PER_GROUP
        for group, why in busy.items():
            self.log.warning("Group %r is left alone: %s", group, why)
        if not failed and not busy:
            return [] if each else list(closed)
        if not each:
            for group in closed:
                lease_of(self.stream.of_group(group), context, Mode.REBUILD).release()
        rest = "The others are served." if each else "None is served: the live indexes are as they were."
        if not failed:
            if each and len(busy) < len(closed):
                return []
            raise AirflowSkipException(
                f"Stream {self.stream.name!r}: another run holds {len(busy)} of {len(closed)} groups:"
                f" {', '.join(map(repr, busy))}. {rest}"
            )
        raise AirflowFailException(
            f"Stream {self.stream.name!r}: {len(failed)} of {len(closed)} groups failed: {', '.join(map(repr, failed))}. {rest}"
            " The failed tasks' logs say why; clear them with what is downstream to go on with what is there."
        )
