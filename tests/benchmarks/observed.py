"""What it costs to tell of a task: metrics to StatsD, spans over OTLP, events of OpenLineage, all on, against all off; in a small
task, where what Airflow and OpenLineage do for a task of any operator counts, against all on without what is ours."""

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

        def milliseconds(form: str, rows: int, against: str) -> tuple[float, float]:
            before = len(receiver.spans)
            took = process("observed_ours", form, rows, receiver.endpoint, statsd.getsockname()[1])
            # Any task tells two more: its own, by turns without ours and with them.
            spans = (len(receiver.spans) - before) / took["tasks"] - 2
            say(
                f"observed, {form}, {rows:,} rows, {spans:.0f} spans: {took['ours'] * 1000:.1f} ms; as any task"
                f" {took['any_task'] * 1000:.1f}, nothing told {took['alone'] * 1000:.1f}"
            )
            return took["ours"] * 1000, took[against] * 1000

        return [
            Figure.compared("observed_copy", *milliseconds("copy", ROWS, "alone"), "ms", at_most=1.02),
            Figure.compared("observed_rows", *milliseconds("rows", ROWS // 10, "alone"), "ms", at_most=1.02),
            Figure.compared("observed_few", *milliseconds("copy", 100, "any_task"), "ms", at_most=1.02),
        ]
