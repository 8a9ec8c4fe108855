"""The files of docs/monitoring: a Grafana dashboard and alert rules for Prometheus, made of the table of metrics.

Run as a program, it writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from airflow_reindex_provider.core.metrics import (
    BACK_OFF,
    BATCH_DURATION,
    BYTES,
    DIFFERENCES,
    DOCUMENTS,
    FAILURES,
    FRESHNESS,
    GENERATIONS,
    HELD,
    LIVE,
    PARKED,
    PUSH_BACKS,
    RETRIES,
    RUN_DURATION,
    RUNS,
    SENT,
    Kind,
    Metric,
)


@dataclass(frozen=True, slots=True)
class Alert:
    """Times are as Prometheus writes them.

    :ivar above: the bound. :ivar over: the time over which a counter's increase is taken; None of a gauge. :ivar lasts: how long
    it must hold. :ivar first: what to do first. :ivar absent: whether it is that nothing has come."""

    name: str
    metric: Metric
    above: float
    lasts: str
    severity: str
    says: str
    first: str
    over: str | None = None
    absent: bool = False


ALERTS = (
    Alert(
        "ReindexBehind",
        FRESHNESS,
        900,
        "5m",
        "page",
        "The index may lack changes that are older than 15 minutes.",
        "airflow reindex status STREAM says what holds it: a failed run, a paused Dag, or an open transaction at the source.",
    ),
    Alert(
        "ReindexSilent",
        FRESHNESS,
        0,
        "30m",
        "page",
        "No run has ended for half an hour: how fresh the index is, nobody knows.",
        "airflow dags list-runs shows whether runs start. Silence the alert for a stream that is paused on purpose.",
        absent=True,
    ),
    Alert(
        "ReindexHeldBack",
        HELD,
        600,
        "10m",
        "page",
        "A transaction that is open at the source keeps changes of more than ten minutes out of reach.",
        "airflow reindex status STREAM --exact names whose it is.",
    ),
    Alert(
        "ReindexTasksFail",
        FAILURES,
        0,
        "0m",
        "page",
        "A task of the stream has failed for good.",
        "airflow reindex status STREAM has its message.",
        over="15m",
    ),
    Alert(
        "ReindexRetries",
        RETRIES,
        10,
        "0m",
        "ticket",
        "Tasks of the stream are tried again and again.",
        "The log of a try says what does not answer: the source, the target, or a worker.",
        over="1h",
    ),
    Alert(
        "ReindexPushedBack",
        PUSH_BACKS,
        100,
        "0m",
        "ticket",
        "The target, or the model, has asked for a pause again and again.",
        "Its own metrics say what it lacks; fewer tasks at a time, in a pool, ask less of it.",
        over="1h",
    ),
    Alert(
        "ReindexParked",
        PARKED,
        0,
        "1d",
        "ticket",
        "Documents have waited for a day, and are not in the index.",
        "airflow reindex parked list STREAM has the reasons.",
    ),
    Alert(
        "ReindexSweepFound",
        DIFFERENCES,
        100,
        "0m",
        "ticket",
        "A sweep has found that more than a hundred documents differ.",
        "Rows are changed without their cursor field, or deleted without a record: airflow reindex check STREAM.",
    ),
)

PANELS: tuple[tuple[str, Metric], ...] = (
    ("How old the oldest unread change may be", FRESHNESS),
    ("What holds the horizon back", HELD),
    ("Documents by what became of them", DOCUMENTS),
    ("Runs by how they ended", RUNS),
    ("How long runs take", RUN_DURATION),
    ("How long batches take", BATCH_DURATION),
    ("Retries", RETRIES),
    ("Failures", FAILURES),
    ("Parked documents", PARKED),
    ("Documents that are served", LIVE),
    ("Generations", GENERATIONS),
    ("Differences that sweeps find", DIFFERENCES),
    ("Bytes that the target has taken", SENT),
    ("Pauses that the target or the model has asked for", PUSH_BACKS),
    ("How long those pauses are", BACK_OFF),
    ("Bytes on the target's disk", BYTES),
)


FOLDER = Path(__file__).parents[2] / "docs" / "monitoring"
DASHBOARD, RULES = FOLDER / "grafana-dashboard.json", FOLDER / "prometheus-rules.yaml"
_SECONDS, _BYTES, _NUMBER = "s", "bytes", "short"


def series(metric: Metric) -> str:
    """The name that Prometheus has for it, by way of OpenTelemetry's collector."""
    name = "airflow_" + metric.name.replace(".", "_")
    return {Kind.COUNTER: f"{name}_total", Kind.TIMER: f"{name}_milliseconds", Kind.GAUGE: name}[metric.kind]


def rules() -> str:
    return yaml.safe_dump(
        {"groups": [{"name": "reindex", "rules": [_rule(alert) for alert in ALERTS]}]}, sort_keys=False, width=120
    )


def _rule(alert: Alert) -> dict[str, Any]:
    name = series(alert.metric)
    if alert.absent:
        bound = (
            f"max by (stream) (max_over_time({name}[1d])) unless max by (stream) (changes({name}[{alert.lasts}]) > 0)"
        )
    elif alert.over is not None:
        bound = f"sum by (stream) (increase({name}[{alert.over}])) > {alert.above:g}"
    else:
        bound = f"max by (stream) ({name}) > {alert.above:g}"
    return {
        "alert": alert.name,
        "expr": bound,
        "for": "5m" if alert.absent else alert.lasts,
        "labels": {"severity": alert.severity},
        "annotations": {
            "summary": f"Stream {{{{ $labels.stream }}}}: {alert.says}",
            "description": alert.first.replace("STREAM", "{{ $labels.stream }}"),
        },
    }


def dashboard() -> str:
    stream = {
        "name": "stream",
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": f"label_values({series(FRESHNESS)}, stream)",
        "includeAll": True,
        "multi": True,
        "refresh": 2,
    }
    board = {
        "title": "Reindexing",
        "uid": "airflow-reindex",
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "1m",
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}, stream]},
        "panels": [_panel(number, title, metric) for number, (title, metric) in enumerate(PANELS)],
    }
    return json.dumps(board, indent=1) + "\n"


def _panel(number: int, title: str, metric: Metric) -> dict[str, Any]:
    tags = ", ".join(("stream", *metric.tags))
    legend = " ".join(f"{{{{{tag}}}}}" for tag in ("stream", *metric.tags))
    return {
        "id": number + 1,
        "title": title,
        "description": f"{metric.name}: {metric.says}",
        "type": "timeseries",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"h": 8, "w": 12, "x": 12 * (number % 2), "y": 8 * (number // 2)},
        "fieldConfig": {"defaults": {"unit": _unit(metric)}, "overrides": []},
        "targets": [{"refId": "A", "expr": _shown(metric, tags), "legendFormat": legend}],
    }


def _shown(metric: Metric, tags: str) -> str:
    chosen = '{stream=~"$stream"}'
    name = series(metric)
    if metric.kind is Kind.COUNTER:
        return f"sum by ({tags}) (increase({name}{chosen}[$__rate_interval]))"
    if metric.kind is Kind.TIMER:
        of = "sum by ({tags}) (rate({name}_{part}{chosen}[$__rate_interval]))"
        part = {"tags": tags, "name": name, "chosen": chosen}
        return f"{of.format(part='sum', **part)} / {of.format(part='count', **part)} / 1000"
    return f"max by ({tags}) ({name}{chosen})"


def _unit(metric: Metric) -> str:
    if metric.kind is Kind.TIMER or metric in (FRESHNESS, HELD):
        return _SECONDS
    return _BYTES if metric in (BYTES, SENT) else _NUMBER


def expressions(board: str, alerts: str) -> Iterator[str]:
    """All that the two files ask Prometheus."""
    for panel in json.loads(board)["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for group in yaml.safe_load(alerts)["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def named(expression: str) -> set[str]:
    return set(re.findall(r"\bairflow_\w+", expression))


if __name__ == "__main__":
    DASHBOARD.write_text(dashboard())
    RULES.write_text(rules())
