"""What the database's clock says, as cursor values."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from airflow_reindex_provider.core.cursors import CursorType

_QUARTERS = 16
"""Of hours in which a local clock may go back, as clocks do: by at most three of them."""
AHEAD = {
    CursorType.TIMESTAMPTZ: timedelta(minutes=5),
    CursorType.TIMESTAMP: timedelta(minutes=65),
    CursorType.DATE: timedelta(days=1),
}
"""What clocks can explain: five minutes between two machines, the hour that comes twice in a year, and the day that has begun
elsewhere. A row no further ahead is read in time."""


def now_text(kind: CursorType, now: datetime, zone: str | None) -> str:
    """:param now: in UTC. :param zone: of a cursor of local times."""
    return kind.bound(now, zone)


def ahead_text(kind: CursorType, now: datetime, zone: str | None) -> str:
    """Rows past this are further ahead than clocks can explain."""
    return kind.bound(now + AHEAD[kind], zone)


def safe_text(kind: CursorType, safe: datetime, zone: str | None) -> str:
    """A bound that lies below all stamps from this moment on: where a local clock is about to go back, below the hour that comes
    twice."""
    moments = [safe]
    if kind is not CursorType.TIMESTAMPTZ and zone not in (None, "UTC"):
        hour = safe.replace(minute=0, second=0, microsecond=0)
        moments += [m for n in range(1, _QUARTERS + 1) if (m := hour + n * timedelta(minutes=15)) > safe]
    return kind.text(min(kind.ordinal(kind.bound(m, zone)) for m in moments))


def require_zone(name: str) -> bool:
    """Whether it is one."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
