"""What OpenLineage is told of a stream by its official provider, through the file transport."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lineage_events import ended
from streams_under_test import StreamUnderTest

pytestmark = pytest.mark.overlaps


def outputs(event: dict[str, Any]) -> dict[str, Any]:
    (output,) = event["outputs"]
    return output


def test_a_run_of_rows_as_they_are(stream: Callable[..., StreamUnderTest], lineage: Path) -> None:
    """From the table to the index, with columns, counts, and the generation as the version."""
    items = stream("unchanged")
    items.insert(range(1, 8), updated_at="now() - interval '1 minute'")
    items.run()

    found = ended(lineage, items.dag_id)
    (extract,), (index,), (close,) = (found[task] for task in ("extract", "index", "checkpoint"))
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
