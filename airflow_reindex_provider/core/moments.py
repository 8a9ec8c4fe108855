"""Days and moments of the calendar that databases reckon in: Gregorian without end, years before Christ included.

Python's own begins in the year 1 and ends in 9999; a database's column does not.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

DAY_US = 86_400_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# What Postgres writes with DateStyle ISO: at least four digits of the year, offsets down to seconds, BC at the end.
_TEXT = re.compile(
    r"(?P<year>\d{4,7})-(?P<month>\d\d)-(?P<day>\d\d)"
    r"(?:[T ](?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:\.(?P<fraction>\d{1,6}))?"
    r"(?:Z|(?P<sign>[+-])(?P<hours>\d\d)(?::?(?P<minutes>\d\d)(?::?(?P<seconds>\d\d))?)?)?)?(?P<bc> BC)?",
    re.ASCII,
)
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Moment(NamedTuple):
    """``local_us``: microseconds since 1970-01-01 00:00 by the clock that the text goes by; ``offset_us``: how far that is
    ahead of UTC, None where the text does not say. ``has_time``: whether it says more than a day."""

    local_us: int
    offset_us: int | None
    has_time: bool


def parse_moment(text: str) -> Moment:
    """:raises ValueError: neither Postgres' text of a date or timestamp nor ISO 8601."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return moment_of(datetime.fromisoformat(text), has_time=len(text) > len("YYYY-MM-DD"))
    year, month, day = (int(match[part]) for part in ("year", "month", "day"))
    if match["bc"]:
        year = 1 - year
    if not (year or match["bc"]) or not 1 <= month <= 12 or not 1 <= day <= _days_of(year, month):
        raise ValueError(f"{text!r} is no day of the calendar")
    hour, minute, second = (int(match[part] or 0) for part in ("hour", "minute", "second"))
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(f"{text!r} is no time of the day")
    seconds = (day_number(year, month, day) * 24 + hour) * 3600 + minute * 60 + second
    offset = None
    if match["sign"]:
        hours, minutes, rest = (int(match[part] or 0) for part in ("hours", "minutes", "seconds"))
        offset = (hours * 3600 + minutes * 60 + rest) * (-1_000_000 if match["sign"] == "-" else 1_000_000)
    elif "Z" in text:
        offset = 0
    return Moment(seconds * 1_000_000 + int((match["fraction"] or "").ljust(6, "0")), offset, match["hour"] is not None)


def moment_of(value: datetime, *, has_time: bool = True) -> Moment:
    local = value.replace(tzinfo=UTC) - EPOCH
    offset = value.utcoffset()
    step = timedelta(microseconds=1)
    return Moment(local // step, None if offset is None else offset // step, has_time)


def day_text(number: int) -> str:
    """The day so many days after 1970-01-01, as Postgres writes it."""
    year, month, day = _day(number)
    return f"{year:04}-{month:02}-{day:02}" if year > 0 else f"{1 - year:04}-{month:02}-{day:02} BC"


def moment_text(us: int, *, offset: str = "") -> str:
    """The moment so many microseconds after 1970-01-01 00:00, in a form that Postgres and ISO 8601 share where both can."""
    days, rest = divmod(us, DAY_US)
    seconds, fraction = divmod(rest, 1_000_000)
    date, _, bc = day_text(days).partition(" ")
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}" + (f".{fraction:06}" if fraction else "")
    return f"{date} {clock}{offset}" + (f" {bc}" if bc else "")


def day_number(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01; the year 0 is 1 BC."""
    # Years begin in March here, so that a leap day is a year's last; 400 of them have always 146,097 days.
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


def _day(number: int) -> tuple[int, int, int]:
    """The inverse of :func:`day_number`."""
    era, of_era = divmod(number + 719_468, 146_097)
    year_of_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted + 2) // 5 + 1
    month = (shifted + 2) % 12 + 1
    return era * 400 + year_of_era + (month <= 2), month, day


def _days_of(year: int, month: int) -> int:
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return _MONTH_DAYS[month - 1] + (month == 2 and is_leap)
