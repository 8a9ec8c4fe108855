"""What a process uses, read by itself."""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

_MB = 1024 * 1024


class Meter:
    """Time, client CPU (user and system, all threads) and the memory's peak, from now on.

    To be made once everything is imported: the memory held by then is not counted.
    """

    def __init__(self) -> None:
        gc.collect()
        self._held = _memory("VmRSS")
        self._cpu = _cpu_s()
        self._started = time.perf_counter()

    def read(self) -> dict[str, float]:
        seconds = time.perf_counter() - self._started
        return {"seconds": seconds, "cpu_s": _cpu_s() - self._cpu, "peak_mb": (_memory("VmHWM") - self._held) / _MB}


def answer(**values: Any) -> None:
    """Hand the result to the process that started this one."""
    Path(os.environ["BENCH_ANSWER"]).write_text(json.dumps(values))


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _memory(name: str) -> int:
    """Bytes; ``VmRSS`` is what is resident now and ``VmHWM`` the most that ever was. Linux alone tells the first."""
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
