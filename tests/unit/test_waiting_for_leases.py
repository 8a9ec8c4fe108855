"""A run that wants a stream for itself, and meets another run's lease."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_reindex_provider import PostgresSource, PostgresTarget, Stream
from airflow_reindex_provider.core.errors import ConfigurationError, StreamBusyError
from airflow_reindex_provider.core.leases import acquire, current, release
from airflow_reindex_provider.core.model import Mode
from airflow_reindex_provider.core.published import BUSY_KEY
from airflow_reindex_provider.core.rebuilding.promoting import PER_GROUP
from airflow_reindex_provider.operators.approving import ApproveSwapOperator
from airflow_reindex_provider.operators.base import lease_of
from airflow_reindex_provider.operators.leases import LeasingOperator, skip_if_busy
from airflow_reindex_provider.operators.rebuild import (
    ALL,
    CatchUpOperator,
    RetireOperator,
)
from airflow_reindex_provider.operators.rebuild_groups import GroupsReadyOperator
from airflow_reindex_provider.operators.sweep import SweepReportOperator
from airflow_reindex_provider.operators.sweep_groups import SweepGroupsReportOperator
from airflow_reindex_provider.testing.memory import MemoryCheckpoint
from airflow_reindex_provider.triggers.pause import PauseTrigger

OTHER = "rebuild_items manual__1"


def stream_of(**options: Any) -> Stream:
    return Stream(
        name="items",
        source=PostgresSource("shop", table="public.items", primary_key="id", cursor_field="updated_at", **options),
        target=PostgresTarget("search", index="public.items_{group}" if options else "public.items_index"),
        checkpoint=MemoryCheckpoint(),
    )


class _Ti(SimpleNamespace):
    """A task instance: what it pushes, and what it finds of other tasks by (task, key)."""

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value

    def xcom_pull(self, task_ids: str, key: str = "return_value", map_indexes: Any = None) -> Any:
        found = self.found.get((task_ids, key))
        return [None] * len(map_indexes) if found is None and isinstance(map_indexes, range) else found

    def get_dr_count(self, dag_id: str, run_ids: list[str], states: list[str]) -> int:
        if self.going_on is None:
            raise RuntimeError("Airflow does not answer")
        return sum(f"{dag_id} {run_id}" in self.going_on for run_id in run_ids)


def context_of(run_type: str = "scheduled", waited: timedelta = timedelta(0), found: dict | None = None) -> Any:
    ti = _Ti(
        dag_id="sweep_items",
        run_id=f"{run_type}__2",
        map_index=-1,
        try_number=1,
        start_date=datetime.now(UTC) - waited,
        pushed={},
        going_on=[OTHER],
        found=found or {},
    )
    run = SimpleNamespace(run_type=run_type)
    return {"ti": ti, "dag_run": run, "params": {"promote": "wait"}, "run_id": ti.run_id, "outlet_events": MagicMock()}


def taken(stream: Stream, context: Any, **options: Any) -> None:
    operator = LeasingOperator(task_id="plan", stream=stream, max_wait=timedelta(hours=2), **options)
    operator.take(lease_of(stream, context, Mode.SWEEP), context)


@pytest.fixture
def busy() -> Stream:
    stream = stream_of()
    acquire(stream.checkpoint, stream.name, holder=OTHER, purpose="rebuild", now=datetime.now(UTC))
    return stream


@pytest.mark.parametrize("run_type", ["scheduled", "asset_triggered", "backfill"])
@pytest.mark.parametrize(
    ("waited", "looks_in"),
    [
        (timedelta(0), timedelta(seconds=5)),
        (timedelta(minutes=4), timedelta(minutes=1)),
        (timedelta(minutes=90), timedelta(minutes=5)),
        (timedelta(minutes=119), timedelta(minutes=1)),
    ],
)
def test_a_run_that_nobody_started_waits(busy: Stream, run_type: str, waited: timedelta, looks_in: timedelta) -> None:
    """It is deferred, and looks again the later the longer it has waited, but not past its time; the trigger says for whom."""
    with pytest.raises(TaskDeferred) as deferred:
        taken(busy, context_of(run_type, waited))
    trigger = deferred.value.trigger
    assert isinstance(trigger, PauseTrigger)
    assert OTHER in trigger.reason
    looks = datetime.fromisoformat(trigger.until) - datetime.now(UTC)
    assert (
        looks_in - timedelta(seconds=4)
        < looks
        < min(1.2 * looks_in, timedelta(hours=2) - waited) + timedelta(seconds=4)
    )
    assert deferred.value.method_name == "execute_again"


def test_two_that_began_to_wait_together_look_apart(busy: Stream) -> None:
    """Both would take the lease in one moment, and a store without compare-and-set would let them."""
    looks = []
    for dag_id in ("sweep_items", "rebuild_items"):
        context = context_of(waited=timedelta(minutes=20))
        context["ti"].dag_id = dag_id
        with pytest.raises(TaskDeferred) as deferred:
            taken(busy, context)
        looks.append(datetime.fromisoformat(deferred.value.trigger.until))
    assert abs(looks[0] - looks[1]) > timedelta(seconds=5)


def test_it_ends_as_skipped_once_its_time_is_over(busy: Stream) -> None:
    """With the reason, which the tasks after it find."""
    context = context_of(waited=timedelta(hours=2))
    with pytest.raises(AirflowSkipException, match=OTHER):
        taken(busy, context)
    assert OTHER in context["ti"].pushed[BUSY_KEY]
    assert current(busy.checkpoint, busy.name).holder == OTHER


def test_it_takes_the_lease_once_it_is_free(busy: Stream) -> None:
    """Looking again is the same as looking first."""
    release(busy.checkpoint, busy.name, holder=OTHER)
    taken(busy, context_of(waited=timedelta(hours=1)))
    assert current(busy.checkpoint, busy.name).holder == "sweep_items scheduled__2"


def test_a_person_is_told_at_once(busy: Stream) -> None:
    """Who it is, and how to wait; as an error that is not retried."""
    with pytest.raises(StreamBusyError, match=f"{OTHER}.*wait=true") as error:
        taken(busy, context_of("manual"))
    assert isinstance(error.value, ConfigurationError)


@pytest.mark.parametrize(("going_on", "said"), [([OTHER], False), ([], True), (None, False)])
def test_a_run_that_is_over_and_kept_its_lease(busy: Stream, going_on: list[str] | None, said: bool) -> None:
    """One that was marked failed, say: whoever meets its lease is told that it may be deleted, as far as Airflow knows."""
    context = context_of("manual")
    context["ti"].going_on = going_on
    with pytest.raises(StreamBusyError) as error:
        taken(busy, context)
    assert ("That run is over" in str(error.value)) == said


@pytest.mark.parametrize("wait", [True, "True", "true"])
def test_a_person_may_wait(busy: Stream, wait: bool | str) -> None:
    """As long as a scheduled run; but its end is an error then, since somebody wanted it."""
    with pytest.raises(TaskDeferred):
        taken(busy, context_of("manual"), wait=wait)
    with pytest.raises(StreamBusyError, match=OTHER):
        taken(busy, context_of("manual", timedelta(hours=3)), wait=wait)


def test_the_trigger_fires_when_it_is_time() -> None:
    """Also where the moment has passed while no triggerer ran; what Airflow keeps of it makes the same one again."""
    trigger = PauseTrigger(until=(datetime.now(UTC) - timedelta(hours=1)).isoformat(), reason="why")
    path, arguments = trigger.serialize()
    assert path == "airflow_reindex_provider.triggers.pause.PauseTrigger"
    again = PauseTrigger(**arguments)

    async def first() -> Any:
        return await asyncio.wait_for(anext(again.run()), 5)

    assert asyncio.run(first()).payload == {"until": trigger.until}


@pytest.mark.parametrize("of", ["catch_up", "approve", "retire", "report"])
def test_what_comes_after_is_skipped_too(busy: Stream, of: str) -> None:
    """A task that runs whatever became of the others neither fails, nor asks a person, nor takes the lease."""
    rebuild = {"stream": busy, "prepare_task_id": "prepare", "copy_task_id": "copy"}
    operator: Any = {
        "catch_up": lambda: CatchUpOperator(task_id=of, **rebuild),
        "approve": lambda: ApproveSwapOperator(task_id=of, prepare_task_id="prepare"),
        "retire": lambda: RetireOperator(task_id=of, promote_task_id="promote", retain=1, **rebuild),
        "report": lambda: SweepReportOperator(
            task_id=of,
            stream=busy,
            plan_task_id="prepare",
            compare_task_id="compare",
            allow_task_id="allow",
            repair_task_id="repair",
        ),
    }[of]()
    with pytest.raises(AirflowSkipException, match="why"):
        operator.execute(context_of(found={("prepare", BUSY_KEY): "why"}))
    assert current(busy.checkpoint, busy.name).holder == OTHER


def test_nothing_is_skipped_without_a_reason() -> None:
    """As in every run that has got its lease."""
    skip_if_busy(None)


GROUPS = {("groups", "return_value"): ["a", "b"]}


@pytest.mark.parametrize(
    ("promote", "closed", "why", "ends"),
    [
        (PER_GROUP, [{}, {"generation": "g"}], [None, None], AirflowFailException),
        (PER_GROUP, [None, {"generation": "g"}], ["held", None], []),
        (PER_GROUP, [None, None], ["held", "held"], AirflowSkipException),
        (PER_GROUP, [None, None], ["held", None], AirflowFailException),
        (ALL, [None, {"generation": "g"}], ["held", None], AirflowSkipException),
        (ALL, [{"generation": "f"}, {"generation": "g"}], [None, None], ["a", "b"]),
    ],
)
def test_a_group_that_is_held_by_another_run(promote: str, closed: list, why: list, ends: Any) -> None:
    """A rebuild serves the others where each is served on its own, and none where they go together; it fails for those alone
    that have failed."""
    stream = stream_of(group_by="tenant")
    operator = GroupsReadyOperator(
        task_id="ready",
        stream=stream,
        groups_task_id="groups",
        group_task_id="close",
        lease_task_id="prepare",
        promote=promote,
    )
    context = context_of(found=GROUPS | {("close", "return_value"): closed, ("prepare", BUSY_KEY): why})
    own = stream.of_group("b")
    lease_of(own, context, Mode.REBUILD).keep()
    if isinstance(ends, list):
        assert operator.execute(context) == ends
        return
    with pytest.raises(ends):
        operator.execute(context)
    assert (current(stream.checkpoint, own.name) is None) == (promote == ALL)


@pytest.mark.parametrize(
    ("swept", "why", "ends"),
    [
        (["b"], ["held", None], None),
        ([], ["held", "held"], AirflowSkipException),
        ([], ["held", None], AirflowFailException),
    ],
)
def test_a_sweep_of_groups_of_which_some_are_held(swept: list, why: list, ends: Any) -> None:
    """Those are left alone and named; the others are swept."""
    names = ("rows", "indexed", "listed", "missing", "stale", "changed", "orphaned", "newer", "repairs", "spared")
    counts = ("created", "updated", "deleted", "noops", "version_conflicts", "failures")
    done = {"group": "b", "held_by": None, "warnings": [], "dry_run": False, **dict.fromkeys([*names, *counts], 1)}
    found = {
        ("sweep", "return_value"): [None, done if "b" in swept else None],
        ("sweep", BUSY_KEY): why,
    }
    operator = SweepGroupsReportOperator(
        task_id="report",
        stream=stream_of(group_by="tenant"),
        groups_task_id="groups",
        group_task_id="sweep",
        lease_task_id="sweep",
    )
    context = context_of(found=GROUPS | found)
    if ends is not None:
        with pytest.raises(ends):
            operator.execute(context)
        return
    report = operator.execute(context)
    assert (report["status"], report["busy"], report["rows"]) == ("completed", {"a": "held"}, 1)
