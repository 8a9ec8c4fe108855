"""What Airflow's metrics get to know of a stream, at a real StatsD listener."""

from __future__ import annotations

import pytest
from statsd_listener import StatsdListener
from streams_under_test import until

from airflow_reindex_provider.core.metrics import COMMON_TAGS, METRICS, Kind

_KINDS = {"c": Kind.COUNTER, "g": Kind.GAUGE, "ms": Kind.TIMER}
_TABLE = {metric.name: metric for metric in METRICS}


@pytest.mark.overlaps
def test_a_run_and_one_that_fails(stream, metrics: StatsdListener):
    """Each figure once, under a name and with tags of the table alone, none of which is a key."""
    items = stream("measured")
    items.insert(range(1, 8), updated_at="now() - interval '1 minute'")
    items.run()
    items.start(window_start="no time").end("failed")
    failed = until(lambda: [s for s in metrics.of_stream("measured") if s.name == "reindex.failures"], "the failure")

    samples = metrics.of_stream("measured")
    assert {sample.name for sample in samples} <= _TABLE.keys()
    for sample in samples:
        metric = _TABLE[sample.name]
        assert _KINDS[sample.kind] is metric.kind
        assert sample.tags.keys() == {*COMMON_TAGS, *metric.tags}
        assert sample.tags["target"] == "postgres"
    values = {}
    for sample in samples:
        values.setdefault(sample.name, []).append(
            (sample.value, sample.tags.get("outcome") or sample.tags.get("status"))
        )
    assert values["reindex.documents"] == [(7, "created")]
    assert values["reindex.runs"] == [(1, "completed")]
    assert values["reindex.documents.live"] == [(7, None)]
    assert values["reindex.generations"] == [(1, None)]
    assert values["reindex.parked"] == [(0, None)]
    assert len(values["reindex.batch.duration"]) == len(values["reindex.run.duration"]) == 1
    # Nothing of it is compressed: the texts of its seven rows, and a little more.
    ((sent, _),) = values["reindex.sent"]
    assert 7 * len("some") < sent < 7000
    assert not values.keys() & {"reindex.push_backs", "reindex.back_off"}
    # Not all of the margin of two seconds: the plan begins a little before the horizon is taken.
    assert 0 < values["reindex.horizon.held"][0][0] < 60
    assert 2 <= values["reindex.freshness"][0][0] < 120
    # Its planning task, and the closing one, which finds no plan.
    assert 1 <= len(failed) <= 2
