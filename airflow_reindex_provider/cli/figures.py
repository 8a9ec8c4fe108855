"""Figures in words, for tables."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow_reindex_provider.control.status.records import RunStatus, StreamStatus

NOTHING = "-"
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def printable(text: str) -> str:
    """Keys and reasons come from tables: what would steer a terminal is written out."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def span(seconds: float | None) -> str:
    """``3 s``, ``12 min``, ``2 h 5 min``."""
    if seconds is None:
        return NOTHING
    whole = round(seconds)
    for (name, unit), (smaller, part) in zip(_UNITS, (*_UNITS[1:], ("s", 1)), strict=True):
        if whole >= unit:
            rest = whole % unit // part
            return f"{whole // unit} {name}" + (f" {rest} {smaller}" if rest and whole < 10 * unit else "")
    return f"{whole} s"


def count(number: int | None) -> str:
    return NOTHING if number is None else f"{number:,}"


def moment(at: datetime | str | None) -> str:
    """To the second, UTC."""
    if at is None:
        return NOTHING
    return str(at)[:19].replace("T", " ")


def part(progress: float | None) -> str:
    return NOTHING if progress is None else f"{progress:.0%}"


def size(number: int | None) -> str:
    if number is None:
        return NOTHING
    amount = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def behind(status: StreamStatus) -> str:
    at_most = status.freshness.at_most_s
    return NOTHING if at_most is None else f"at most {span(at_most)}"


def parked(status: StreamStatus) -> int | None:
    return status.parked["count"] if status.parked else None


def under_way(run: RunStatus | None) -> str:
    """``rebuild 42%, 3 min left``."""
    if run is None:
        return NOTHING
    left = f", {span(run.eta_ms / 1000)} left" if run.eta_ms is not None else ""
    return f"{run.mode} {part(run.progress) if run.progress is not None else run.state}{left}"


def row(status: StreamStatus) -> dict[str, Any]:
    """One line of a list."""
    return {
        "stream": status.name,
        "state": str(status.state),
        "behind": behind(status),
        "documents": count(status.documents),
        "parked": count(parked(status)),
        "under way": under_way(status.run),
        "last success": moment(status.last_success.ended_at if status.last_success else None),
        "message": status.message,
    }
