"""What the version before has planned, noted, returned and stored is read by this one: an upgrade while runs are under way."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_reindex_provider.checkpoints.stored import read_checkpoint
from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.groups import GroupPlans
from airflow_reindex_provider.core.keys import KeyRange
from airflow_reindex_provider.core.model import (
    Batch,
    BatchResult,
    Checkpoint,
    Counts,
    Mode,
    Parked,
    Plan,
    Position,
    Rejection,
    Window,
)
from airflow_reindex_provider.core.running.indexing import _Done
from airflow_reindex_provider.core.sweeping.records import RepairJob, SweepPlan, SweepRange, SweepReport

BATCH = """{"stream": "products", "generation": "products_20261123t172543", "number": 0, "of": 2, "rows": 10,
 "mode": "incremental", "start": {"cursor": "2026-11-23 17:25:43+00:00", "key": ["7"]},
 "end": {"cursor": "2026-11-23 18:00:00+00:00"}}"""
PARKED_BATCH = """{"stream": "products", "generation": "products_20261123t172543", "number": 1, "of": 2, "rows": 2,
 "mode": "incremental", "start": null, "end": {"cursor": "2026-11-23 18:00:00+00:00"}, "keys": [["8"], ["9"]]}"""
GROUP_BATCH = BATCH.removesuffix("}") + ', "group": "north", "fresh": true}'
PLAN = """{"stream": "products", "mode": "incremental", "generation": "products_20261123t172543",
 "window": {"start": {"cursor": "2026-11-23 17:25:43+00:00", "key": ["7"]}, "end": {"cursor": "2026-11-23 18:00:00+00:00"}},
 "cursor_type": "timestamptz", "checkpoint": {"cursor": "2026-11-23 17:25:43+00:00", "key": ["7"]}, "batches": 2, "rows": 10,
 "planned_at": "2026-11-23T18:00:02+00:00", "null_cursors": 0, "horizon": "2026-11-23 18:00:00+00:00",
 "horizon_basis": "oldest open transaction, less 2 s", "held_by": null, "guarantee": "versioned", "dry_run": false,
 "warnings": []}"""
RESULT = f"""{{"batch": {BATCH}, "processed": 10, "created": 7, "updated": 1, "deleted": 0, "noops": 1,
 "version_conflicts": 0, "failures": 1, "chunks": 3, "elapsed_s": 1.5, "rejected": [{{"key": ["8"], "reason": "too long"}}]}}"""
COUNTS = '{"created": 7, "updated": 1, "deleted": 0, "noops": 1, "version_conflicts": 0, "failures": 1}'
CHECKPOINT = """{"stream": "products", "generation": "products_20261123t172543", "cursor": "2026-11-23 17:25:43+00:00",
 "key": ["7"], "parked": [{"key": ["8"], "reason": "too long", "attempts": 2, "parked_at": "2026-11-23T17:20:00+00:00",
 "next_try_at": "2026-11-23T17:40:00+00:00"}], "version": 12, "saved_at": "2026-11-23T17:25:50+00:00",
 "saved_by": "scheduled__2026-11-23T17:25:00+00:00"}"""
SWEEP_PLAN = """{"stream": "products", "generation": "products_20261123t172543", "bound": "2026-11-23 17:25:43+00:00",
 "cursor_type": "timestamptz", "max_delete_fraction": 0.05, "dry_run": false, "compare": "versions"}"""
SWEEP_RANGE = '{"number": 0, "of": 1, "rows": 10, "start": null, "end": null}'
SWEEP_REPORT = """{"indexed": 10, "listed": 2, "missing": 1, "stale": 0, "changed": 0, "orphaned": 0, "newer": 0,
 "examples": {"missing": [["7"]]}, "differing": [{"start": null, "end": ["9"]}]}"""
REPAIR_JOB = f'{{"range": {SWEEP_RANGE}, "parts": [{{"start": null, "end": ["9"]}}], "repairs": 1, "may_delete": 0}}'

END = Position("2026-11-23 18:00:00+00:00")
START = Position("2026-11-23 17:25:43+00:00", ("7",))
GENERATION = "products_20261123t172543"
THE_BATCH = Batch("products", GENERATION, 0, 2, Window(START, END), 10)
REJECTED = (Rejection(("8",), "too long"),)


def test_a_plan_and_its_batches() -> None:
    """The closing task finds the window, the batches and the checkpoint that the plan was made from."""
    plan = Plan.from_json(json.loads(PLAN), [json.loads(BATCH), json.loads(PARKED_BATCH)])
    assert (plan.mode, plan.cursor_type, plan.window) == (Mode.INCREMENTAL, CursorType.TIMESTAMPTZ, Window(START, END))
    assert plan.checkpoint == START
    assert plan.batches[0] == THE_BATCH
    assert plan.batches[1].keys == (("8",), ("9",))
    assert plan.ahead_cursors is None


def test_a_plan_of_groups() -> None:
    """Each batch is that of its group."""
    value = {
        "stream": "all",
        "mode": "incremental",
        "dry_run": False,
        "batches": 1,
        "rows": 10,
        "nulls": 0,
        "groups": [{**json.loads(PLAN), "group": "north"}],
        "failures": {},
    }
    (batch,) = GroupPlans.from_json(value, [json.loads(GROUP_BATCH)]).batches
    assert (batch.group, batch.fresh) == ("north", True)


def test_what_a_batch_returned() -> None:
    """Its counts and what was refused."""
    result = BatchResult.from_json(json.loads(RESULT))
    assert (result.batch, result.counts.created, result.chunks) == (THE_BATCH, 7, 3)
    assert result.rejected == REJECTED


@pytest.mark.parametrize("batch", [BATCH, PARKED_BATCH])
def test_a_note_for_the_next_try(batch: str) -> None:
    """A task that is restarted with the new version goes on behind its last acknowledged chunk."""
    note = (
        f'{{"batch": {batch}, "end": {{"cursor": "2026-11-23 17:30:00+00:00", "key": ["9"]}}, "counts": {COUNTS},'
        + (' "rejected": [{"key": ["8"], "reason": "too long"}], "chunks": 3}')
    )
    done = _Done.load(json.loads(note), Batch.from_json(json.loads(batch)))
    assert (done.end, done.chunks, done.rejected) == (Position("2026-11-23 17:30:00+00:00", ("9",)), 3, REJECTED)
    assert done.counts == Counts(7, 1, 0, 1, 0, 1)


def test_a_checkpoint() -> None:
    """Cursor, version and parked documents."""
    wanted = Checkpoint(
        "products",
        GENERATION,
        START,
        (Parked(("8",), "too long", 2, "2026-11-23T17:20:00+00:00", "2026-11-23T17:40:00+00:00"),),
        12,
        "2026-11-23T17:25:50+00:00",
        "scheduled__2026-11-23T17:25:00+00:00",
    )
    value: Any = json.loads(CHECKPOINT)
    assert read_checkpoint(value, stream="products", generation=GENERATION, where="") == wanted
    assert wanted.to_json() == value


def test_a_sweep_under_way() -> None:
    """Plan, range, report and repair."""
    plan = SweepPlan.from_json(json.loads(SWEEP_PLAN))
    assert (plan.bound, plan.cursor_type) == (START.cursor, CursorType.TIMESTAMPTZ)
    assert SweepRange.from_json(json.loads(SWEEP_RANGE)) == SweepRange(0, 1, KeyRange(), 10)
    assert SweepReport.from_json(json.loads(SWEEP_REPORT)).indexed == 10
    assert RepairJob.from_json(json.loads(REPAIR_JOB)).parts == (KeyRange(None, ("9",)),)
