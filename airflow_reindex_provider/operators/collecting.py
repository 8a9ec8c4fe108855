"""Python's collector of cycles, while a task makes many objects that are no garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def sparing_imports() -> Iterator[None]:
    """What is there already, Airflow and all that it imports, is not searched for garbage again and again, which took a fifth of
    the processor time of a task that embeds. What comes from now on is collected as ever."""
    if gc.get_freeze_count():
        # Somebody else's, who ends it too.
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
