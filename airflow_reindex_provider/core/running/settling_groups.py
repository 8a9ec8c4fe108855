"""Closing a run that served all groups of a stream."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_reindex_provider.core.errors import (
    BatchesFailedError,
    ConfigurationError,
    GenerationGoneError,
    ReindexError,
    TransientError,
)
from airflow_reindex_provider.core.groups import GroupPlans
from airflow_reindex_provider.core.model import (
    BatchResult,
    Counts,
    PassageCounts,
    Plan,
)
from airflow_reindex_provider.core.running.settling import Outcome, require_complete

log = logging.getLogger(__name__)


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


def settle_groups(
    plans: GroupPlans, results: Iterable[BatchResult], settle: Callable[[Plan, Sequence[BatchResult]], Outcome]
) -> GroupOutcomes:
    """Close the run for each group on its own: what goes wrong with one of them stops none of the others.

    :param settle: closes the run of one group.
    """
    by_stream: dict[str, list[BatchResult]] = {}
    for result in results:
        by_stream.setdefault(result.batch.stream, []).append(result)
    outcomes: list[Outcome] = []
    failures = dict(plans.failures)
    again = False
    for plan in plans.plans:
        try:
            outcomes.append(outcome := settle(plan, by_stream.get(plan.stream, [])))
            require_complete(outcome)
        except GenerationGoneError as error:
            # Nothing is lost with it, and nothing of it is left to do.
            log.warning("%s", error)
        except ReindexError as error:
            failures[str(plan.group)] = str(error)
            again = again or not isinstance(error, ConfigurationError)
    return GroupOutcomes(plans, tuple(outcomes), failures, again)


def require_all(outcomes: GroupOutcomes) -> None:
    """:raises BatchesFailedError, TransientError: a group has failed; names all that have."""
    failures = outcomes.failures
    if failures:
        shown = "\n".join(f"{group!r}: {why}" for group, why in list(failures.items())[:10])
        message = (
            f"Stream {outcomes.plans.stream!r}: {len(failures)} of {len(outcomes.plans.plans) + len(outcomes.plans.failures)}"
            f" groups failed: {', '.join(map(repr, failures))}. The others are settled. First reasons:\n{shown}"
        )
        raise TransientError(message) if outcomes.again else BatchesFailedError(message)
