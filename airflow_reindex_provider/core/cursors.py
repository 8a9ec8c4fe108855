"""Cursor values: text at full precision outside, one integer for comparing them and for versions inside."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from airflow_reindex_provider.core.moments import (
    DAY_US,
    EPOCH,
    Moment,
    day_text,
    moment_of,
    moment_text,
    parse_moment,
)

_INFINITIES = {"-infinity": -(2**63), "infinity": 2**63 - 1}


class CursorType(StrEnum):
    """The types a cursor field may have; the value is what error messages and plans call it."""

    TIMESTAMPTZ = "timestamptz"
    TIMESTAMP = "timestamp"
    DATE = "date"
    INTEGER = "integer"

    def ordinal(self, text: str) -> int:
        """Place of a cursor value in the order of change, which is also the version of a row that carries it.

        Microseconds since 1970-01-01 (UTC, or the column's own local time), days since then, or the integer; within a
        bigint, which ends some days after the year 294246.
        Source of the rule: design, promise 2: of two states of one row the later one has the greater ordinal.

        :param text: what Postgres writes with DateStyle ISO (years before Christ, past 9999 and ``infinity`` included), or
            ISO 8601; a ``timestamptz`` without an offset is read as UTC.
        :raises ValueError: the text is not a value of this type.
        """
        text = text.strip()
        if self is CursorType.INTEGER:
            return self._within(int(text), text)
        if text in _INFINITIES:
            return _INFINITIES[text]
        moment = parse_moment(text)
        if self is CursorType.DATE:
            if moment.has_time:
                raise ValueError(f"{text!r} is no date")
            return moment.local_us // DAY_US
        if self is CursorType.TIMESTAMP and moment.offset_us is not None:
            raise ValueError(f"{text!r} has a UTC offset, but the cursor field has none")
        return self._within(moment.local_us - (moment.offset_us or 0), text)

    def text(self, ordinal: int) -> str:
        """The inverse of :meth:`ordinal`, in the form that checkpoints and plans use."""
        if self is CursorType.INTEGER:
            return str(ordinal)
        for text, place in _INFINITIES.items():
            if ordinal == place:
                return text
        if self is CursorType.DATE:
            return day_text(ordinal)
        return moment_text(ordinal, offset="+00:00" if self is CursorType.TIMESTAMPTZ else "")

    def bound(self, value: object, timezone: str | None) -> str:
        """A window's bound as a cursor value, from what a data interval or a form gives.

        :param value: a point in time (aware), a text as for :meth:`ordinal`, or a number for an integer cursor. A text
            without an offset is UTC for a ``timestamptz``, and local time or a date for the other two.
        :param timezone: the zone of a ``timestamp`` or ``date`` cursor; None is UTC.
        :raises ValueError: it is none of these, or the cursor cannot hold it.
        """
        if self is CursorType.INTEGER:
            if isinstance(value, datetime):
                raise ValueError(f"the cursor field is an integer, and {value} says nothing of it: give numbers")
            return str(int(str(value)))
        if isinstance(value, str):
            moment = parse_moment(value.strip())
        elif isinstance(value, datetime):
            moment = moment_of(value)
        else:
            raise ValueError(f"{value!r} is not a point in time: write it in ISO 8601")
        if self is CursorType.TIMESTAMPTZ:
            us = moment.local_us - (moment.offset_us or 0)
        else:
            us = moment.local_us if moment.offset_us is None else _local_us(moment, timezone or "UTC")
        return self.text(us // DAY_US if self is CursorType.DATE else self._within(us, value))

    def moment(self, text: str, timezone: str | None) -> datetime | None:
        """When a cursor value is, in UTC: a date's first moment, by the zone's clock; None of an integer, and where Python's
        calendar has no such time.

        :param timezone: as in :meth:`bound`. :raises ValueError: the text is not a value of this type.
        """
        ordinal = self.ordinal(text)
        if self is CursorType.INTEGER:
            return None
        try:
            moment = EPOCH + timedelta(microseconds=ordinal * (DAY_US if self is CursorType.DATE else 1))
            if self is CursorType.TIMESTAMPTZ:
                return moment
            return moment.replace(tzinfo=ZoneInfo(timezone or "UTC")).astimezone(EPOCH.tzinfo)
        except OverflowError:
            return None

    def _within(self, ordinal: int, value: object) -> int:
        low, high = _INFINITIES.values()
        if self is CursorType.INTEGER:
            low, high = low - 1, high + 1
        if not low < ordinal < high:
            raise ValueError(f"{value} is out of range: a version is a bigint")
        return ordinal


def _local_us(moment: Moment, timezone: str) -> int:
    """What a clock in the zone shows at a moment whose offset is known."""
    us = moment.local_us - (moment.offset_us or 0)
    if timezone == "UTC":
        return us
    try:
        local = (EPOCH + timedelta(microseconds=us)).astimezone(ZoneInfo(timezone))
    except OverflowError as error:
        raise ValueError(
            f"nothing is known of {timezone}'s clocks then: write it as local time, without an offset"
        ) from error
    return moment_of(local.replace(tzinfo=None)).local_us
