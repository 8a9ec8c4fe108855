"""A contestant is a module of this folder, run in a process of its own."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Answer = dict[str, float]


def process(name: str, *arguments: object, python: Path = Path(sys.executable)) -> Answer:
    """Run a contestant; what it answers (``meter.answer``)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "answer")
        command = [str(python), "-m", f"tests.benchmarks.{name}", *map(str, arguments)]
        subprocess.run(command, env={**os.environ, "BENCH_ANSWER": str(path)}, check=True)
        value: dict[str, Any] = json.loads(path.read_text())
    return value


def median(answers: Sequence[Answer], of: str) -> float:
    return statistics.median(answer[of] for answer in answers)


def rate(answers: Sequence[Answer]) -> float:
    """Rows a second."""
    return statistics.median(answer["rows"] / answer["seconds"] for answer in answers)


def told(answer: Answer) -> str:
    """In the words of what is printed."""
    return f"{answer['rows']:,.0f} rows in {answer['seconds']:.1f} s, {answer['cpu_s']:.1f} s CPU, {answer['peak_mb']:.0f} MB"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
