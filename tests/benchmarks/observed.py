"""What it costs to tell of a task: metrics to StatsD, spans over OTLP, events of OpenLineage, all on, against all off."""

from __future__ import annotations

import socket

from airflow_reindex_provider.testing.postgres import Database
from tests.benchmarks.contest import process, say
from tests.benchmarks.figures import Figure
from tests.otlp_receiver import OtlpReceiver

ROWS = 50_000


def figures(database: Database) -> list[Figure]:
    with OtlpReceiver() as receiver, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
        # Nobody reads it: the kernel drops what has no room, as it does where StatsD is slow.
        statsd.bind(("127.0.0.1", 0))

        def milliseconds(form: str, rows: int) -> tuple[float, float]:
            before = len(receiver.spans)
            answer = process("observed_ours", form, rows, receiver.endpoint, statsd.getsockname()[1])
            spans = (len(receiver.spans) - before) / answer["tasks"]
            say(f"observed, {form}: {rows:,} rows, {spans:.0f} spans a task")
            return answer["observed"] * 1000, answer["alone"] * 1000

        return [
            Figure.compared("observed_copy", *milliseconds("copy", ROWS), "ms", at_most=1.02),
            Figure.compared("observed_rows", *milliseconds("rows", ROWS // 5), "ms", at_most=1.02),
            Figure.compared("observed_few", *milliseconds("copy", 100), "ms", at_most=1.02),
        ]
