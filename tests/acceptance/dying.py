"""Processes that kill themselves with SIGKILL at a place."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

Place = tuple[Any, str, int, str]
"""Where to die: an object's attribute, at which call of it, and on which side (``before`` or ``after``)."""


def die_at(place: Place) -> None:
    owner, name, number, side = place
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def watched(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and side == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, watched)
