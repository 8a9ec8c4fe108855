"""Cursor values: text at full precision outside, one integer for comparing them and for versions inside."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DATE = date(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
_INFINITIES = {"-infinity": -(2**63), "infinity": 2**63 - 1}


class CursorType(StrEnum):
    """The types a cursor field may have; the value is what error messages and plans call it."""

    TIMESTAMPTZ = "timestamptz"
    TIMESTAMP = "timestamp"
    DATE = "date"
    INTEGER = "integer"

    def ordinal(self, text: str) -> int:
        """Place of a cursor value in the order of change, which is also the version of a row that carries it.

        Microseconds since 1970-01-01 (UTC, or the column's own local time), days since then, or the integer.
        Source of the rule: design, promise 2: of two states of one row the later one has the greater ordinal.

        :param text: ISO 8601, or Postgres' ``infinity``; a ``timestamptz`` without an offset is read as UTC.
        :raises ValueError: the text is not a value of this type.
        """
        text = text.strip()
        if self is CursorType.INTEGER:
            return int(text)
        if text in _INFINITIES:
            return _INFINITIES[text]
        if self is CursorType.DATE:
            return (date.fromisoformat(text) - _EPOCH_DATE).days
        moment = datetime.fromisoformat(text)
        if self is CursorType.TIMESTAMP:
            if moment.tzinfo is not None:
                raise ValueError(f"{text!r} has a UTC offset, but the cursor field has none")
            moment = moment.replace(tzinfo=UTC)
        elif moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // _MICROSECOND

    def text(self, ordinal: int) -> str:
        """The inverse of :meth:`ordinal` for finite values, in the form that checkpoints and plans use."""
        if self is CursorType.INTEGER:
            return str(ordinal)
        if self is CursorType.DATE:
            return (_EPOCH_DATE + timedelta(days=ordinal)).isoformat()
        moment = _EPOCH + ordinal * _MICROSECOND
        if self is CursorType.TIMESTAMP:
            moment = moment.replace(tzinfo=None)
        return moment.isoformat(sep=" ")

    def bound(self, value: object, timezone: str | None) -> str:
        """A window's bound as a cursor value, from what a data interval or a form gives.

        :param value: a point in time (aware), a text in ISO 8601, or a number for an integer cursor. A text without an
            offset is UTC for a ``timestamptz``, and local time or a date for the other two.
        :param timezone: the zone of a ``timestamp`` or ``date`` cursor; None is UTC.
        :raises ValueError: it is none of these, or the cursor cannot hold it.
        """
        if self is CursorType.INTEGER:
            if isinstance(value, datetime):
                raise ValueError(f"the cursor field is an integer, and {value} says nothing of it: give numbers")
            return str(int(str(value)))
        if isinstance(value, str):
            value = datetime.fromisoformat(value.strip())
        if not isinstance(value, datetime):
            raise ValueError(f"{value!r} is not a point in time: write it in ISO 8601")
        if self is CursorType.TIMESTAMPTZ:
            moment = value if value.tzinfo else value.replace(tzinfo=UTC)
            return moment.astimezone(UTC).isoformat(sep=" ")
        local = value.astimezone(ZoneInfo(timezone or "UTC")).replace(tzinfo=None) if value.tzinfo else value
        return local.date().isoformat() if self is CursorType.DATE else local.isoformat(sep=" ")
