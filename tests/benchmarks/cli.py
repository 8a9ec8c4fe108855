"""What every `airflow` command pays for ours: reading the definition of the commands."""

from __future__ import annotations

import statistics
import subprocess
import sys

from tests.benchmarks.contest import say
from tests.benchmarks.figures import Figure

_RUNS = 5
# Airflow's own part of the command line is there before; processor time, since others use the machine too.
_CODE = """
import time
import airflow.cli.cli_config
began = time.process_time()
from airflow_reindex_provider.cli.definition import get_reindex_cli_commands
get_reindex_cli_commands()
print((time.process_time() - began) * 1000)
"""


def figures() -> list[Figure]:
    took = [_run() for _ in range(_RUNS)]
    say(f"definition of the command line: {', '.join(f'{ms:.1f}' for ms in took)} ms")
    return [Figure.alone("cli_definition_ms", statistics.median(took), "ms", at_most=50)]


def _run() -> float:
    answer = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=True)
    return float(answer.stdout.splitlines()[-1])
