"""Python's own settings while a task indexes: what its collector of cycles searches, and how long a thread has its turn."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TURN_S = 0.0005


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


@contextmanager
def short_turns() -> Iterator[None]:
    """A thread that sends to a server has to wait for its turn each time that the server has made room. In Python's 5 ms, which
    another thread takes that cuts and hashes texts, the server has used up what it was sent, and waits too."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _TURN_S))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
