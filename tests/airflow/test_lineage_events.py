"""What OpenLineage is told of a stream by its official provider, through the file transport."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lineage_schemas import require_valid
from statsd_listener import StatsdListener
from streams_under_test import StreamUnderTest, until

pytestmark = pytest.mark.overlaps


def events(lineage: Path, items: StreamUnderTest) -> list[dict[str, Any]]:
    """Of the stream's Dag, in the order of their times; each is valid by OpenLineage's schemas."""
    found = [json.loads(file.read_text()) for file in lineage.iterdir()]
    own = [event for event in found if event["job"]["name"].split(".")[0] == items.dag_id]
    for event in own:
        require_valid(event)
    return sorted(own, key=lambda event: event["eventTime"])


def ended(lineage: Path, items: StreamUnderTest, task: str) -> list[dict[str, Any]]:
    """Those with which tries of the task ended, once its run has."""
    ends = ("COMPLETE", "FAIL")
    until(
        lambda: [e for e in events(lineage, items) if e["job"]["name"] == items.dag_id and e["eventType"] in ends],
        "the end",
    )
    return [
        e for e in events(lineage, items) if e["job"]["name"] == f"{items.dag_id}.{task}" and e["eventType"] in ends
    ]


def outputs(event: dict[str, Any]) -> dict[str, Any]:
    (output,) = event["outputs"]
    return output


def test_a_run_of_rows_as_they_are(stream: Callable[..., StreamUnderTest], lineage: Path) -> None:
    """From the table to the index, with columns, counts, and the generation as the version."""
    items = stream("unchanged")
    items.insert(range(1, 8), updated_at="now() - interval '1 minute'")
    items.run()

    (extract,), (index,), (close,) = (ended(lineage, items, task) for task in ("extract", "index", "checkpoint"))
    (table,) = index["inputs"]
    assert re.fullmatch(r"postgres://[^/]+:\d+", table["namespace"])
    assert (table["name"], outputs(index)["name"]) == ("shop.public.unchanged", "search.public.unchanged_index")
    assert [d["name"] for d in extract["inputs"]] == ["shop.public.unchanged"]
    assert extract["inputs"][0]["inputFacets"]["inputStatistics"]["rowCount"] == 7
    assert table["inputFacets"]["inputStatistics"]["rowCount"] == 7
    assert outputs(index)["outputFacets"]["outputStatistics"]["rowCount"] == 7
    assert [f["name"] for f in outputs(index)["facets"]["schema"]["fields"]] == ["id", "title", "updated_at"]
    (title,) = outputs(index)["facets"]["columnLineage"]["fields"]["title"]["inputFields"]
    assert (title["name"], title["field"]) == ("shop.public.unchanged", "title")
    (generation,) = items.generations
    for event in (index, close):
        assert outputs(event)["facets"]["version"]["datasetVersion"].endswith(generation)
    assert "outputStatistics" not in json.dumps(close)


def test_a_retry_tells_nothing_twice(
    stream: Callable[..., StreamUnderTest], lineage: Path, metrics: StatsdListener
) -> None:
    """The first try has written a part of its batch and fails. It tells that part, the second one the rest; the run's documents
    are counted once."""
    items = stream("tripped")
    items.insert(range(50), updated_at="now() - interval '1 h' + id * interval '1 s'")
    items.at_source("UPDATE {} SET title = 'trip' WHERE id = 35")
    items.pull_brake()
    items.run()

    first, second = ended(lineage, items, "index")
    assert (first["eventType"], second["eventType"]) == ("FAIL", "COMPLETE")
    rows = [outputs(event)["outputFacets"]["outputStatistics"]["rowCount"] for event in (first, second)]
    assert sum(rows) == 50
    assert 10 <= rows[0] <= 30
    assert len({first["run"]["runId"], second["run"]["runId"]}) == 2

    until(lambda: [s for s in metrics.of_stream("tripped") if s.name == "reindex.run.duration"], "the run's metrics")
    told: dict[str, list[float]] = {}
    for sample in metrics.of_stream("tripped"):
        told.setdefault(sample.name, []).append(sample.value)
    assert told["reindex.documents"] == [50]
    assert told["reindex.runs"] == told["reindex.retries"] == [1]
    assert "reindex.failures" not in told
    assert len(told["reindex.batch.duration"]) == 1
