"""A Dag file that has not changed has one version, whichever process parses it."""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import airflow_reindex_provider
from airflow_reindex_provider import RebuildDag, ReindexDag, SweepDag
from airflow_reindex_provider.dags.common import StreamDag

pytestmark = pytest.mark.versions

_ROOT = Path(__file__).parents[2]
_EVERY_OPTION = Path(__file__).parent / "every_option.py"

_PARSE = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
from airflow.models.serialized_dag import SerializedDagModel
from airflow.serialization.serialized_objects import DagSerialization

found = {}
for place in sys.argv[1:]:
    bag = DagBag(place)
    assert not bag.import_errors, bag.import_errors
    for dag_id, dag in bag.dags.items():
        kept = DagSerialization.to_dict(dag)
        found[dag_id] = {"text": json.dumps(kept, sort_keys=True), "hash": SerializedDagModel.hash(kept)}
print(json.dumps(found))
"""
"""What a Dag processor does with a file, and what it keeps and compares."""


@pytest.fixture(scope="module")
def parsed() -> list[dict[str, dict[str, str]]]:
    """The example Dags, those of the demo and those of the file with every option, from two processes that order sets
    differently and have what they make at different addresses."""
    places = [_EVERY_OPTION, _ROOT / "dags", _ROOT / "airflow_reindex_provider" / "demo" / "dags"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", f"spare = bytearray({spare})\n{_PARSE}", *map(str, places)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed, spare in (("1", 0), ("2", 9_999_999))
    ]
    found = []
    for process in processes:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err[-4000:]
        found.append(json.loads(out.splitlines()[-1]))
    return found


def test_a_dag_has_one_version(parsed: list[dict[str, dict[str, str]]]) -> None:
    """What Airflow keeps of each Dag is the same to the byte, and so is the hash by which it tells versions apart."""
    one, other = parsed
    assert one.keys() == other.keys()
    assert {"reindex_products", "reindex_customers", "rebuild_grouped", "sweep_full", "by_hand"} <= one.keys()
    for dag_id, kept in one.items():
        assert kept["text"] == other[dag_id]["text"], dag_id
        assert kept["hash"] == other[dag_id]["hash"], dag_id
        assert " at 0x" not in kept["text"], dag_id


def test_a_change_of_the_stream_is_another_version(parsed: list[dict[str, dict[str, str]]]) -> None:
    """What the stream is made of stands in what Airflow keeps, its transform by name: nothing that is bound to it."""
    one, _ = parsed
    for name, shown in {
        "full": "transform=Configured,",
        "by_partial": "transform=partial(keep),",
        "by_bound": "transform=Maker.method,",
        "by_nested": "transform=nested.<locals>.inner,",
        "by_lambda": "transform=<lambda>,",
        "in_table": "checkpoint=TableCheckpoint(conn_id='search_db', table='public.kept')",
        "to_opensearch": "index='products'",
    }.items():
        assert shown in one[f"reindex_{name}"]["text"], name


def test_every_option_is_given() -> None:
    """The file gives each argument of each class that an author makes: a new one is no exception."""
    given: dict[str, set[str]] = {}
    values: dict[str, ast.expr] = {}
    calls = []
    for node in ast.walk(ast.parse(_EVERY_OPTION.read_text())):
        if isinstance(node, ast.Call):
            calls.append(node)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            values[node.targets[0].id] = node.value
    for call in calls:
        # IndexBatchOperator.partial(...).expand(...) gives to IndexBatchOperator, and source(...) to PostgresSource.
        called = call.func
        while isinstance(called, ast.Attribute | ast.Call):
            called = called.value if isinstance(called, ast.Attribute) else called.func
        if not isinstance(called, ast.Name):
            continue
        name = "PostgresSource" if called.id == "source" else called.id
        names = given.setdefault(name, set())
        for keyword in call.keywords:
            more = values.get(getattr(keyword.value, "id", "")) if keyword.arg is None else None
            names |= {str(key.value) for key in more.keys} if isinstance(more, ast.Dict) else {str(keyword.arg)}
    for name in airflow_reindex_provider.__all__:
        made: Any = getattr(airflow_reindex_provider, name)
        if not isinstance(made, type) or name in ("ReindexProgressHook", "ReindexDags"):
            continue
        wanted = set(inspect.signature(made).parameters) - {"kwargs", "stream", "batch"}
        if made in (ReindexDag, RebuildDag, SweepDag):
            shared = inspect.signature(StreamDag).parameters.values()
            wanted |= {p.name for p in shared if p.default is not p.empty}
        # One that Stream.of_group gives.
        assert wanted - {"group"} <= given[name], name
