"""Parked documents: refused by the target, kept with key and reason, tried again with growing delays.

What is remembered of them has a bound in bytes, whatever ``max_failures`` allows: reasons give way first, to what they have in
common; a key is never forgotten. Where the keys alone are too many, the run fails as it does past ``max_failures``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from airflow_reindex_provider.core.model import Key, Parked, Rejection
from airflow_reindex_provider.core.model.packed import MANY, packed, size

FIRST_DELAY = timedelta(minutes=5)
LONGEST_DELAY = timedelta(hours=24)
MAX_REASON_CHARS = 300
MAX_BYTES = 256 * 1024
"""Of what a checkpoint remembers of parked documents, and of what a batch says of refused ones; as JSON."""
ROOM = f"a checkpoint has room for ({MAX_BYTES // 1024} kB of keys, whatever max_failures is)"
_REASONS_BYTES = 32 * 1024
_RETRIES = 1000
_RETRIES_BYTES = 24 * 1024
_OTHER = "one of too many different reasons to keep; the log of the task that refused it has it"
# Values stand in quotes or are numbers: without them one reason is left for all documents that have one thing wrong.
_VALUES = re.compile(r"'[^']*'|\"[^\"]*\"|[\w.-]*\d[\w.-]*")

Refused = TypeVar("Refused", Parked, Rejection)


def retry_delay(attempts: int) -> timedelta:
    """Five minutes after the first refusal, four times as long after each further one, a day at the most."""
    factor: int = 4 ** min(attempts - 1, 10)
    return min(FIRST_DELAY * factor, LONGEST_DELAY)


def due(parked: Iterable[Parked], now: datetime) -> tuple[Key, ...]:
    """The keys whose delay is over at ``now`` (aware)."""
    return tuple(p.key for p in parked if datetime.fromisoformat(p.next_try_at) <= now)


def retries(parked: Iterable[Parked], now: datetime) -> tuple[Key, ...]:
    """Those of the keys that are due which one run tries again: the ones that have waited longest, as many as a batch may
    name. The others stay due, and the next runs try them."""
    parked = list(parked)
    since = {p.key: datetime.fromisoformat(p.next_try_at) for p in parked}
    chosen: list[Key] = []
    room = _RETRIES_BYTES
    for key in sorted(due(parked, now), key=since.__getitem__):
        room -= key_bytes(key)
        if chosen and (room < 0 or len(chosen) == _RETRIES):
            break
        chosen.append(key)
    return tuple(chosen)


def key_bytes(key: Key) -> int:
    return size(list(key)) + 2


def bounded(refused: Sequence[Refused]) -> tuple[Refused, ...]:
    """With fewer different reasons, where they would take too many bytes. No key is left out."""
    if len(refused) <= MANY:
        return tuple(refused)
    reasons = {r.reason: r.reason for r in refused}
    if sum(map(size, reasons)) > _REASONS_BYTES:
        reasons = {reason: _VALUES.sub("…", reason) for reason in reasons}
    kept, room = set(), _REASONS_BYTES
    for said in dict.fromkeys(reasons.values()):
        room -= size(said)
        if room < 0:
            break
        kept.add(said)
    short = {reason: said if said in kept else _OTHER for reason, said in reasons.items()}
    return tuple(sorted((replace(r, reason=short[r.reason]) for r in refused), key=lambda r: r.reason))


def takes_too_much(parked: Sequence[Parked]) -> bool:
    return size(packed([p.to_json() for p in parked])) > MAX_BYTES


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
    return beside_each_other(list(kept.values()))


def beside_each_other(parked: Sequence[Parked]) -> tuple[Parked, ...]:
    """As a checkpoint keeps them: of many, those that are alike stand together, and are written as one."""
    if len(parked) <= MANY:
        return tuple(parked)
    return tuple(sorted(bounded(parked), key=lambda p: (p.next_try_at, p.parked_at, p.attempts, p.reason)))
