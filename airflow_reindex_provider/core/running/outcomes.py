"""What has become of a run: its sums, as its closing task returns them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_reindex_provider.core.groups import GroupPlans
from airflow_reindex_provider.core.model import Counts, PassageCounts, Plan, Position


@dataclass(frozen=True, slots=True)
class Outcome:
    """The sums of a finished run, as its closing task returns them and its asset event carries them."""

    plan: Plan
    counts: Counts
    batches_done: int
    checkpoint_before: Position | None
    checkpoint_after: Position | None
    parked: int
    passages: PassageCounts = PassageCounts()

    @property
    def complete(self) -> bool:
        return self.batches_done == len(self.plan.batches)

    def to_json(self) -> dict[str, Any]:
        plan = self.plan
        return {
            "stream": plan.stream,
            "mode": str(plan.mode),
            "generation": plan.generation,
            "status": "completed" if self.complete else "failed",
            "window": plan.window.to_json() if plan.window else None,
            "batches": len(plan.batches),
            "batches_done": self.batches_done,
            "total": plan.rows,
            "processed": self.counts.processed,
            **self.counts.to_json(),
            **self.passages.to_json(),
            "parked": self.parked,
            "null_cursors": plan.null_cursors,
            "ahead_cursors": plan.ahead_cursors,
            "checkpoint_before": self.checkpoint_before.to_json() if self.checkpoint_before else None,
            "checkpoint_after": self.checkpoint_after.to_json() if self.checkpoint_after else None,
            "horizon": plan.horizon,
            "horizon_basis": plan.horizon_basis,
            "held_by": plan.held_by,
            "warnings": list(plan.warnings),
            "dry_run": plan.dry_run,
        }


@dataclass(frozen=True, slots=True)
class GroupOutcomes:
    """How the groups of a run fared. :ivar failures: of planning and of settling; the state of all others is settled.
    :ivar again: whether a failure was one that a retry may get over."""

    plans: GroupPlans
    outcomes: tuple[Outcome, ...]
    failures: Mapping[str, str]
    again: bool = False

    @property
    def counts(self) -> Counts:
        return sum((outcome.counts for outcome in self.outcomes), Counts())

    def to_json(self) -> dict[str, Any]:
        plans = self.plans
        return {
            "stream": plans.stream,
            "mode": str(plans.mode),
            "status": "failed" if self.failures else "completed",
            "batches": len(plans.batches),
            "batches_done": sum(outcome.batches_done for outcome in self.outcomes),
            "total": plans.rows,
            "processed": self.counts.processed,
            **self.counts.to_json(),
            **sum((outcome.passages for outcome in self.outcomes), PassageCounts()).to_json(),
            "parked": sum(outcome.parked for outcome in self.outcomes),
            "nulls": plans.nulls,
            **plans.out_of_reach,
            "held_by": plans.held_by,
            "warnings": list(plans.warnings),
            "groups": {str(o.plan.group): _told(o) for o in self.outcomes},
            "failures": dict(self.failures),
            "dry_run": plans.dry_run,
        }


def _told(outcome: Outcome) -> dict[str, Any]:
    after = outcome.checkpoint_after
    return {
        "generation": outcome.plan.generation,
        "status": "completed" if outcome.complete else "failed",
        "processed": outcome.counts.processed,
        "parked": outcome.parked,
        "checkpoint_after": after.to_json() if after else None,
    }
