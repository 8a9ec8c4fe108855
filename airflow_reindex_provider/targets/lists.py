"""Lists and vectors of documents, as an engine's client takes them. What is none raises TypeError or ValueError."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any


def listed(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"a {type(value).__name__} is no list")
    return value


def numbers_of(length: int | None) -> Callable[[Any], list[float]]:
    """:param length: that it must have; None is any."""

    def numbers(value: Any) -> list[float]:
        found = [float(n) for n in (json.loads(value) if isinstance(value, str) else value)]
        if length is not None and len(found) != length:
            raise ValueError(f"a vector of {len(found)} numbers, and the column is for {length}")
        if not all(map(math.isfinite, found)):
            raise ValueError("a vector with NaN or infinity, which no search finds anything near to")
        return found

    return numbers
