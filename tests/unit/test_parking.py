"""Parked documents: which are due, and what a run makes of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_reindex_provider.core.model import Parked, Rejection
from airflow_reindex_provider.core.parking import LONGEST_DELAY, MAX_REASON_CHARS, due, merge, retry_delay

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def parked(key: str, *, attempts: int = 1, next_try_at: datetime = NOW) -> Parked:
    return Parked((key,), "no", attempts, "2025-12-31T00:00:00+00:00", next_try_at.isoformat(timespec="seconds"))


def test_delays_grow_to_a_day_and_no_further() -> None:
    """Five minutes, four times as long each time, a day at the most, however many attempts there were."""
    minutes = [retry_delay(n) / timedelta(minutes=1) for n in range(1, 6)]
    assert minutes == [5, 20, 80, 320, 1280]
    assert retry_delay(6) == retry_delay(11) == retry_delay(10_000) == LONGEST_DELAY


def test_due_is_what_has_waited_long_enough() -> None:
    """A document is due at its time, not a second before."""
    later = parked("later", next_try_at=NOW + timedelta(seconds=1))
    assert due([parked("now"), later], NOW) == (("now",),)
    assert due([parked("now"), later], NOW + timedelta(seconds=1)) == (("now",), ("later",))


def test_a_refused_document_is_parked_with_its_reason() -> None:
    """The first refusal notes when; the reason is cut to what a checkpoint can carry."""
    (new,) = merge([], tried=[], planned_at=NOW, rejected=[Rejection(("k",), "x" * 1000)], now=NOW)
    assert (new.key, new.attempts, new.parked_at) == (("k",), 1, NOW.isoformat())
    assert new.reason == "x" * MAX_REASON_CHARS
    assert datetime.fromisoformat(new.next_try_at) == NOW + timedelta(minutes=5)


def test_a_document_refused_again_waits_longer() -> None:
    """Attempts count up, the time of the first refusal stays."""
    (again,) = merge(
        [parked("k", attempts=2)], tried=[("k",)], planned_at=NOW, rejected=[Rejection(("k",), "still no")], now=NOW
    )
    assert (again.attempts, again.reason, again.parked_at) == (3, "still no", "2025-12-31T00:00:00+00:00")
    assert datetime.fromisoformat(again.next_try_at) == NOW + timedelta(minutes=80)


def test_a_document_that_was_taken_is_released_and_others_stay() -> None:
    """Only what the run tried can leave."""
    left = merge([parked("k"), parked("other")], tried=[("k",)], planned_at=NOW, rejected=[], now=NOW)
    assert [p.key for p in left] == [("other",)]


def test_a_document_parked_anew_by_another_run_stays() -> None:
    """The run that tried it read an older state of the row; what was refused since is not in the index."""
    anew = parked("k", attempts=2, next_try_at=NOW + timedelta(minutes=20))
    assert merge([anew], tried=[("k",)], planned_at=NOW, rejected=[], now=NOW + timedelta(hours=1)) == (anew,)
