"""The layers and files of the package: imports go one way, and a file holds one idea."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import airflow_reindex_provider

PACKAGE = Path(airflow_reindex_provider.__file__).parent
MOST_LINES = 400

LAYERS = (
    {"core"},
    {"databases"},
    {"sources", "targets", "checkpoints", "embedders", "caches"},
    {"events"},
    {"stream"},
    {"hooks", "triggers", "control"},
    {"operators"},
    {"sensors"},
    {"dags"},
    {"streamfile"},
    {"plugin", "cli"},
    {"__init__", "get_provider_info"},
    {"testing"},
    {"demo"},
)
"""Rooms; each may use those of the layers before its own, and none of its neighbours."""


def test_no_two_files_import_each_other() -> None:
    """Not by way of others either, nor for types alone, nor inside a function."""
    try:
        TopologicalSorter(_imports()).prepare()
    except CycleError as error:
        raise AssertionError("a circle: " + " -> ".join(error.args[1])) from None


def test_imports_run_downward() -> None:
    """A room uses those of the layers below it. One that is in no layer fails here until it has its place."""
    level = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
    rooms = {(_room(module), _room(other)) for module, others in _imports().items() for other in others}
    assert {room for pair in rooms for room in pair} <= level.keys()
    assert not {(room, other) for room, other in rooms if room != other and level[other] >= level[room]}


def test_no_file_is_long() -> None:
    lines = {module: len(path.read_text().splitlines()) for module, path in _files().items()}
    assert not {module: count for module, count in lines.items() if count > MOST_LINES}


@cache
def _files() -> dict[str, Path]:
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}


@cache
def _imports() -> dict[str, set[str]]:
    """Each file of the package, by its dotted name within it, with those that it imports from anywhere in its text."""
    return {module: _imported(path) - {module} for module, path in _files().items()}


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE.name:
            within = node.module.split(".")[1:]
            for name in node.names:
                candidates = (".".join([*within, name.name]), ".".join(within), ".".join([*within, "__init__"]))
                found.add(next(module for module in candidates if module in _files()))
    return found


def _room(module: str) -> str:
    return module.split(".")[0]
