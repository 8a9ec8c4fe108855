"""The page on metrics says what the table of the code says."""

from __future__ import annotations

import re
from pathlib import Path

from monitoring_files import ALERTS, DASHBOARD, PANELS, RULES, dashboard, expressions, named, rules, series

from airflow_reindex_provider.core.metrics import COMMON_TAGS, METRICS
from airflow_reindex_provider.core.model import Counts
from airflow_reindex_provider.core.observing import Side
from airflow_reindex_provider.core.sweeping.records import Difference

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


def test_every_metric_is_on_the_page() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| (\w+) \| ([^|]*) \| (.*) \|$", PAGE, re.M)
    assert rows == [(m.name, str(m.kind), ", ".join(f"`{tag}`" for tag in m.tags), m.says) for m in METRICS]


def test_so_is_every_value_of_a_tag() -> None:
    for value in (*Counts().to_json(), *Difference, *Side):
        assert f"`{value}`" in PAGE


def test_dashboard_and_alerts_are_of_these_metrics() -> None:
    """The files are as `python tests/unit/monitoring_files.py` writes them, and ask for series that there are, by their tags."""
    board, alerts = DASHBOARD.read_text(), RULES.read_text()
    assert (board, alerts) == (dashboard(), rules())
    by_name = {series(metric): metric for metric in METRICS}
    for expression in expressions(board, alerts):
        names = {re.sub(r"_(sum|count)$", "", name) for name in named(expression)}
        assert names, expression
        assert names <= by_name.keys(), expression
        tags = {tag for found in re.findall(r"by \(([\w, ]+)\)", expression) for tag in found.split(", ")}
        for name in names:
            assert tags <= {*COMMON_TAGS, *by_name[name].tags}, expression


def test_every_metric_has_a_panel() -> None:
    assert {metric.name for _, metric in PANELS} == {metric.name for metric in METRICS}


def test_commands_of_alerts_are_ours() -> None:
    """What somebody is told to do first can be typed."""
    from airflow.cli.cli_parser import get_parser

    for alert in ALERTS:
        for command in re.findall(r"airflow (reindex [\w ]+?STREAM(?: --exact)?)", alert.first):
            get_parser().parse_args(command.replace("STREAM", "products").split())
