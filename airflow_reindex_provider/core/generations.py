"""What the name of a generation says."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_STAMP = re.compile(r"_(\d{8}t\d{6})$")


def made_at(name: str) -> datetime | None:
    """When the generation was made; None of a name that ends in no time, as that of one that was not made by us."""
    stamp = _STAMP.search(name)
    try:
        return datetime.strptime(stamp[1], "%Y%m%dt%H%M%S").replace(tzinfo=UTC) if stamp else None
    except ValueError:
        return None
