"""The page on metrics says what the table of the code says."""

from __future__ import annotations

import re
from pathlib import Path

from airflow_reindex_provider.core.metrics import METRICS
from airflow_reindex_provider.core.model import Counts
from airflow_reindex_provider.core.sweeping.records import Difference

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


def test_every_metric_is_on_the_page() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| (\w+) \| ([^|]*) \| (.*) \|$", PAGE, re.M)
    assert rows == [(m.name, str(m.kind), ", ".join(f"`{tag}`" for tag in m.tags), m.says) for m in METRICS]


def test_so_is_every_value_of_a_tag() -> None:
    for value in (*Counts().to_json(), *Difference):
        assert f"`{value}`" in PAGE
