"""Closing a run that served all groups of a stream."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from airflow_reindex_provider.core.errors import (
    BatchesFailedError,
    ConfigurationError,
    GenerationGoneError,
    ReindexError,
    TransientError,
)
from airflow_reindex_provider.core.groups import GroupPlans
from airflow_reindex_provider.core.model import BatchResult, Plan
from airflow_reindex_provider.core.running.outcomes import GroupOutcomes, Outcome
from airflow_reindex_provider.core.running.settling import require_complete

log = logging.getLogger(__name__)


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
