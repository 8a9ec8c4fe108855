"""Where servers that are soon gone keep their data, and how several processes make one thing once."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ROOM = 4 << 30


def make_folder(prefix: str, *, durable: bool) -> Path:
    """A new temporary folder, on disk; for what need not be durable in memory, where there is room for it: making and dropping
    a database then costs a fraction, and a sync nothing. Where ``TMPDIR`` is set, it lies there whatever it is for."""
    memory = _MEMORY if not durable and not os.environ.get("TMPDIR") and _has_room() else None
    return Path(tempfile.mkdtemp(prefix=prefix, dir=memory)).resolve()


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Of all processes, one at a time is in here for the same folder, which must be there."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _has_room() -> bool:
    # A container's /dev/shm often has 64 MB; elsewhere it may promise more than there is.
    return _MEMORY.is_dir() and min(shutil.disk_usage(_MEMORY).free, _available()) > _ROOM


def _available() -> int:
    """Bytes of memory that nobody uses, as Linux reckons."""
    found = re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(found[1]) << 10 if found else 0
