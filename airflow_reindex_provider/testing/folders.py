"""Where servers that are soon gone keep their data."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ROOM = 4 << 30


def make_folder(prefix: str, *, durable: bool) -> Path:
    """A new temporary folder, on disk; for what need not be durable in memory, where there is room for it: making and dropping
    a database then costs a fraction, and a sync nothing."""
    memory = _MEMORY if not durable and _has_room() else None
    return Path(tempfile.mkdtemp(prefix=prefix, dir=memory)).resolve()


def _has_room() -> bool:
    # A container's /dev/shm often has 64 MB; elsewhere it may promise more than there is.
    return _MEMORY.is_dir() and min(shutil.disk_usage(_MEMORY).free, _available()) > _ROOM


def _available() -> int:
    """Bytes of memory that nobody uses, as Linux reckons."""
    found = re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(found[1]) << 10 if found else 0
