"""Cursor values: text outside, one integer inside, nothing lost between them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_reindex_provider.core.cursors import CursorType

MOMENTS = st.datetimes(datetime.fromisoformat("0001-01-02"), datetime.fromisoformat("9999-12-30"))
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TEXTS = {
    CursorType.TIMESTAMPTZ: MOMENTS.map(lambda m: m.replace(tzinfo=UTC).isoformat(sep=" ")),
    CursorType.TIMESTAMP: MOMENTS.map(lambda m: m.isoformat(sep=" ")),
    CursorType.DATE: st.dates().map(date.isoformat),
    CursorType.INTEGER: st.integers(-(2**63), 2**63 - 1).map(str),
}
TYPED_TEXTS = st.sampled_from(list(CursorType)).flatmap(lambda kind: st.tuples(st.just(kind), TEXTS[kind], TEXTS[kind]))


def canonical(kind: CursorType, text: str) -> str:
    return kind.text(kind.ordinal(text))


@settings(deadline=None)
@given(TYPED_TEXTS)
def test_text_and_ordinal_are_inverse(typed: tuple[CursorType, str, str]) -> None:
    """A value survives the way to its ordinal and back, to the microsecond."""
    kind, text, _ = typed
    assert kind.text(kind.ordinal(text)) == text


@settings(deadline=None)
@given(TYPED_TEXTS)
def test_ordinals_sort_as_the_values_do(typed: tuple[CursorType, str, str]) -> None:
    """The later of two values has the greater ordinal."""
    kind, one, other = typed
    parse = {CursorType.INTEGER: int, CursorType.DATE: date.fromisoformat}.get(kind, datetime.fromisoformat)
    assert (kind.ordinal(one) < kind.ordinal(other)) == (parse(one) < parse(other))


@settings(deadline=None)
@given(MOMENTS, OFFSETS)
def test_an_offset_changes_the_text_and_not_the_value(moment: datetime, offset: timezone) -> None:
    """The same instant written in two zones is one cursor value."""
    instant = moment.replace(tzinfo=UTC)
    kind = CursorType.TIMESTAMPTZ
    assert canonical(kind, instant.astimezone(offset).isoformat()) == canonical(kind, instant.isoformat())


def test_postgres_own_spelling_is_read() -> None:
    """Postgres writes offsets in hours and drops the zeros at the end of a fraction."""
    assert canonical(CursorType.TIMESTAMPTZ, "2026-01-02 03:04:05.6+00") == "2026-01-02 03:04:05.600000+00:00"
    assert canonical(CursorType.TIMESTAMPTZ, "2026-01-02 03:04:05+05:30") == "2026-01-01 21:34:05+00:00"
    assert canonical(CursorType.TIMESTAMPTZ, "2026-01-02 03:04:05") == "2026-01-02 03:04:05+00:00"


@pytest.mark.parametrize("kind", [CursorType.TIMESTAMPTZ, CursorType.TIMESTAMP, CursorType.DATE])
def test_infinity_lies_beyond_every_value(kind: CursorType) -> None:
    """Postgres' infinities sort before and after all else, and fit a bigint."""
    low, high = kind.ordinal("-infinity"), kind.ordinal("infinity")
    first, last = ("0001-01-01", "9999-12-31")
    assert -(2**63) <= low < kind.ordinal(first) < kind.ordinal(last) < high < 2**63


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (CursorType.TIMESTAMPTZ, "yesterday"),
        (CursorType.TIMESTAMPTZ, ""),
        (CursorType.TIMESTAMP, "2026-01-01 00:00:00+00"),
        (CursorType.DATE, "2026-02-30"),
        (CursorType.INTEGER, "1.5"),
        (CursorType.INTEGER, "infinity"),
    ],
)
def test_what_is_not_a_value_of_the_type_is_refused(kind: CursorType, text: str) -> None:
    """Garbage raises ValueError and is never taken for some value."""
    with pytest.raises(ValueError):
        kind.ordinal(text)


def test_a_bound_is_taken_from_an_instant_in_the_cursors_own_terms() -> None:
    """A data interval's instant becomes UTC, the writers' local time, or the day there."""
    instant = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    assert CursorType.TIMESTAMPTZ.bound(instant, None) == "2026-03-01 23:30:00+00:00"
    assert CursorType.TIMESTAMP.bound(instant, "Europe/Berlin") == "2026-03-02 00:30:00"
    assert CursorType.DATE.bound(instant, "Europe/Berlin") == "2026-03-02"
    assert CursorType.DATE.bound(instant, None) == "2026-03-01"


def test_a_bound_is_taken_from_text() -> None:
    """A form gives text: with an offset it is an instant, without one it is in the cursor's own terms."""
    assert CursorType.TIMESTAMPTZ.bound("2026-03-02T00:30:00+01:00", "Europe/Berlin") == "2026-03-01 23:30:00+00:00"
    assert CursorType.TIMESTAMPTZ.bound("2026-03-01", "Europe/Berlin") == "2026-03-01 00:00:00+00:00"
    assert CursorType.TIMESTAMP.bound("2026-03-01T10:00", "Europe/Berlin") == "2026-03-01 10:00:00"
    assert CursorType.DATE.bound("2026-03-01", None) == "2026-03-01"
    assert CursorType.INTEGER.bound("42", None) == "42"
    assert CursorType.INTEGER.bound(42, None) == "42"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (CursorType.INTEGER, datetime(2026, 1, 1, tzinfo=UTC)),
        (CursorType.INTEGER, "2026-01-01"),
        (CursorType.TIMESTAMPTZ, 42),
        (CursorType.TIMESTAMPTZ, "infinity"),
        (CursorType.DATE, "soon"),
    ],
)
def test_a_bound_the_cursor_cannot_hold_is_refused(kind: CursorType, value: object) -> None:
    """The error is a ValueError, which becomes a message for whoever asked for the window."""
    with pytest.raises(ValueError):
        kind.bound(value, None)
