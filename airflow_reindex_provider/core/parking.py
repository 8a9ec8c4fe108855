"""Parked documents: refused by the target, kept with key and reason, tried again with growing delays."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from airflow_reindex_provider.core.model import Key, Parked, Rejection

FIRST_DELAY = timedelta(minutes=5)
LONGEST_DELAY = timedelta(hours=24)
MAX_REASON_CHARS = 300


def retry_delay(attempts: int) -> timedelta:
    """Five minutes after the first refusal, four times as long after each further one, a day at the most."""
    factor: int = 4 ** min(attempts - 1, 10)
    return min(FIRST_DELAY * factor, LONGEST_DELAY)


def due(parked: Iterable[Parked], now: datetime) -> tuple[Key, ...]:
    """The keys whose delay is over at ``now`` (aware)."""
    return tuple(p.key for p in parked if datetime.fromisoformat(p.next_try_at) <= now)


def merge(
    parked: Iterable[Parked],
    *,
    tried: Iterable[Key],
    planned_at: datetime,
    rejected: Iterable[Rejection],
    now: datetime,
) -> tuple[Parked, ...]:
    """The parked documents after a run.

    :param tried: parked keys that the run's own batch for them went through; those not refused again are released.
    :param planned_at: when the run chose them; what another run has parked anew since then stays, for it may be a state
        of the row that this run has not read.
    :param rejected: what the run's batches refused, tried keys included.
    """
    by_key = {p.key: p for p in parked}
    refused = {r.key: r.reason for r in rejected}
    released = set(tried) & set(due(by_key.values(), planned_at))
    kept = {key: p for key, p in by_key.items() if key not in released}
    for key, reason in refused.items():
        before = by_key.get(key)
        attempts = before.attempts + 1 if before else 1
        kept[key] = Parked(
            key=key,
            reason=reason[:MAX_REASON_CHARS],
            attempts=attempts,
            parked_at=before.parked_at if before else now.isoformat(timespec="seconds"),
            next_try_at=(now + retry_delay(attempts)).isoformat(timespec="seconds"),
        )
    return tuple(kept.values())
