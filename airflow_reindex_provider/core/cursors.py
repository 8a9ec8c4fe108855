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

    def canonical(self, text: str) -> str:
        """The same value in the one form used for storing and comparing.

        :raises ValueError: the text is not a value of this type.
        """
        return self.text(self.ordinal(text))

    def from_instant(self, instant: datetime, timezone: str | None) -> str:
        """The cursor value that a row written at ``instant`` carries.

        :param instant: aware.
        :param timezone: the zone of the writers' sessions, for ``timestamp`` and ``date`` columns; None is UTC.
        :raises ValueError: the cursor is an integer, which no point in time maps to.
        """
        if self is CursorType.INTEGER:
            raise ValueError("an integer cursor field has no place for a point in time")
        if self is CursorType.TIMESTAMPTZ:
            return instant.astimezone(UTC).isoformat(sep=" ")
        local = instant.astimezone(ZoneInfo(timezone or "UTC")).replace(tzinfo=None)
        return local.date().isoformat() if self is CursorType.DATE else local.isoformat(sep=" ")
