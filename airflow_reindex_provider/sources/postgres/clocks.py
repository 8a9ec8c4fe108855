"""What a column's default, or the function of a trigger, makes of the database's clock: the time itself, an earlier one, or that
of another zone than the one that is stated."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow_reindex_provider.core.cursors import CursorType

_THE_TIME = re.compile(
    r"(?:now|transaction_timestamp|statement_timestamp|clock_timestamp|timeofday)\(\)"
    r"|(?:CURRENT_TIMESTAMP|LOCALTIMESTAMP)(?:\(\d\))?|'now'::text",
    re.IGNORECASE,
)
_ZONE = r"'([^']+)'::text"
# As Postgres writes an expression, from the inside to the outside. Within a second, which the margin is for.
_AS_GOOD = (
    re.compile(r"\(@\)"),
    re.compile(r"@::(?:text|timestamp(?:\(\d\))? with(?:out)? time zone)"),
    re.compile(r"date_trunc\('(?:second|milliseconds?|microseconds?)'::text, @\)"),
    re.compile(r"@ [+-] '00:00:00'::interval"),
)
_IN_A_ZONE = (re.compile(rf"@ AT TIME ZONE {_ZONE}"), re.compile(rf"timezone\({_ZONE}, @\)"))
_DAYS = (re.compile(r"@::date"), re.compile(r"CURRENT_DATE", re.IGNORECASE))


def is_the_time(expression: str, kind: CursorType) -> bool:
    """Whether it is the clock's time, and nothing computed from it that may lie further back; of a date, the clock's day."""
    return _reduced(expression, kind) == "@"


def other_zone(expression: str, stated: str | None) -> str | None:
    """A zone that the expression names and whose clocks show another time than those of the one that is stated.

    :param expression: as Postgres writes it, or a function's source."""
    named = re.findall(r"AT\s+TIME\s+ZONE\s+'([^']+)'|timezone\(\s*'([^']+)'", expression, re.IGNORECASE)
    zones = [one or other for one, other in named]
    return next((zone for zone in zones if not _same_clocks(zone, stated or "UTC")), None)


def _reduced(expression: str, kind: CursorType) -> str:
    text, before = _THE_TIME.sub("@", expression), ""
    days = _DAYS if kind is CursorType.DATE else ()
    while text != before:
        before = text
        for form in (*_AS_GOOD, *_IN_A_ZONE, *days):
            text = form.sub("@", text)
    return text


def _same_clocks(one: str, other: str) -> bool:
    """Also where one of them is known to Postgres alone: nothing is said of what is not known."""
    try:
        zones = [ZoneInfo("UTC" if name.upper() in ("UTC", "GMT", "Z") else name) for name in (one, other)]
    except (ZoneInfoNotFoundError, ValueError):
        return True
    days = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=91 * quarter) for quarter in range(4))
    return all(len({day.astimezone(zone).utcoffset() for zone in zones}) == 1 for day in days)
