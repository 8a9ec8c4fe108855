"""The words of the command line, as Airflow's own parser takes them."""

from __future__ import annotations

import argparse
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from importlib import import_module

import pytest
from airflow.cli.cli_config import ActionCommand, GroupCommand
from airflow.cli.cli_parser import get_parser
from cli_reference import PAGE, page_with, reference

from airflow_reindex_provider.cli.definition import get_reindex_cli_commands
from airflow_reindex_provider.cli.options import key_parts, key_text
from airflow_reindex_provider.cli.words import AT_ONCE, DOINGS
from airflow_reindex_provider.control.acts import ACTS

COMMON = {"func", "stream", "subcommand", "no_wait", "timeout", "output", "verbose", "yes", "dry_run"}


def parsed(*words: str) -> argparse.Namespace:
    return get_parser().parse_args(["reindex", *words])


def resolved(*words: str) -> tuple[str, dict[str, object]]:
    """Which act a command line means, and with which arguments."""
    args = parsed(*words)
    doing = next(d for d in DOINGS if d.words == words[: len(d.words)])
    given = {name: getattr(args, name, None) for name in (*doing.properties, "dry_run")}
    act, arguments = doing.resolved(given)
    return act.name, act.checked(arguments)


def test_airflow_has_the_commands():
    """Through the provider's entry, and all of them load their code when they are called."""
    commands = dict(_commands(get_reindex_cli_commands()))
    assert {("reindex", "list"), ("reindex", "parked", "retry"), ("reindex", "checkpoint", "show")} <= commands.keys()
    for words, command in commands.items():
        with pytest.raises(SystemExit) as ended:
            parsed(*words[1:], "--help")
        assert ended.value.code == 0
        assert command.help, words
        lazy = command.func.func if isinstance(command.func, partial) else command.func
        home, _, name = inspect.getclosurevars(lazy).nonlocals["import_path"].rpartition(".")
        assert callable(getattr(import_module(home), name)), words


def _commands(found: object, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], ActionCommand]]:
    for command in found:  # type: ignore[attr-defined]
        if isinstance(command, GroupCommand):
            yield from _commands(command.subcommands, (*words, command.name))
        else:
            yield (*words, command.name), command


def test_every_act_has_a_command():
    """One that is new fails here until somebody has decided what people type for it."""
    told = [act.name for doing in DOINGS for act in doing.acts] + list(AT_ONCE)
    assert sorted(told) == sorted(ACTS)


def test_every_argument_has_an_option():
    """And none has the name of an option that all commands have."""
    for doing in DOINGS:
        required = [value for name in doing.positional for value in _some(doing.properties[name])]
        for name, schema in doing.properties.items():
            if name in next(doing.acts).needed and name not in doing.positional:
                required += [_flag(name), *_some(schema)]
        for name, schema in doing.properties.items():
            assert name not in COMMON
            given = [] if name in doing.positional else [_flag(name), *_some(schema)]
            args = parsed(*doing.words, "a_stream", *required, *given)
            assert getattr(args, name) not in (None, False), (doing.words, name)


def _flag(name: str) -> str:
    return {"groups": "--group", "keys": "--key", "wait": "--wait-for-others"}.get(name, f"--{name.replace('_', '-')}")


def _some(schema: dict[str, object]) -> list[str]:
    if schema.get("type") == "boolean":
        return []
    return [str(schema["enum"][0])] if "enum" in schema else ["1"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("line", "act", "arguments"),
    [
        ("run s", "run", {}),
        ("run s --dry-run", "dry-run", {}),
        ("run s --window-start 2026-01-01T00:00:00Z", "range", {"window_start": "2026-01-01T00:00:00Z"}),
        ("run s --window-start 5 --window-end 9", "range", {"window_start": 5, "window_end": 9}),
        ("run s --dry-run --window-end 9", "dry-run", {"window_end": 9}),
        (
            "rebuild s --promote wait --throttle-docs-per-s 100",
            "rebuild",
            {"promote": "wait", "throttle_docs_per_s": 100.0},
        ),
        ("rebuild s --group a --group b", "rebuild", {"groups": ["a", "b"]}),
        ("rollback s", "rollback", {"rollback_to": "previous"}),
        ("rollback s items_20261101t120000", "rollback", {"rollback_to": "items_20261101t120000"}),
        ("sweep s --wait-for-others", "sweep", {"wait": True}),
        ("sweep s --dry-run --compare content", "sweep-dry-run", {"compare": "content"}),
        ("parked retry s", "parked-retry", {}),
        ('parked drop s --key 7 --key ["a/b","c"]', "parked-drop", {"keys": [["7"], ["a/b", "c"]]}),
        ("checkpoint set s 2026-01-01 --key 17", "checkpoint-set", {"cursor": "2026-01-01", "key": ["17"]}),
        ("checkpoint set s -5", "checkpoint-set", {"cursor": -5}),
        ("checkpoint move s table --conn-id db", "checkpoint-move", {"to": "table", "conn_id": "db"}),
        ("rename s t --dry-run", "rename", {"name": "t", "dry_run": True}),
        ("tombstones purge s --older-than-days 30", "tombstones-purge", {"older_than_days": 30.0}),
    ],
)
def test_what_a_line_means(line, act, arguments):
    assert resolved(*line.split()) == (act, arguments)


@pytest.mark.parametrize(
    "line",
    [
        "run",
        "rename s",
        "checkpoint set s",
        "checkpoint move s drawer",
        "tombstones purge s",
        "sweep s --compare colours",
        'parked drop s --key ["a"',
        "parked drop s --key []",
        "list --state happy",
        "list --output xml",
        "dance s",
        "run s --timeout -1",
        "run s --timeout nan",
        "status --watch --every inf",
        "rebuild s --throttle-docs-per-s nan",
    ],
)
def test_a_line_that_cannot_be_meant_ends_with_2(line, capsys):
    with pytest.raises(SystemExit) as ended:
        parsed(*line.split())
    assert ended.value.code == 2


@pytest.mark.parametrize("parts", [["7"], ["a b"], ["a", "b"], ["[7]"], ['["'], [""], ["ä/ö", ""]])
def test_a_key_that_is_shown_can_be_given(parts):
    assert key_parts(key_text(parts)) == parts


def test_the_page_has_the_tables_of_the_parser():
    """`python -m tests.unit.cli_reference` writes them."""
    assert PAGE.read_text() == page_with(reference())


def test_other_commands_are_not_slower():
    """The definition brings nothing that Airflow's parser has not brought: no ORM of its own, no rich, no client, none of our
    code but the lists of words."""
    code = """
import json, sys, time
import airflow.cli.cli_config
there = set(sys.modules)
began = time.perf_counter()
from airflow_reindex_provider.cli.definition import get_reindex_cli_commands
get_reindex_cli_commands()
took = time.perf_counter() - began
print(json.dumps({"new": sorted(set(sys.modules) - there), "took_s": took}))
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    new = json.loads(answer.stdout.splitlines()[-1])["new"]
    assert [name for name in new if not name.startswith("airflow_reindex_provider")] == []
    # The package itself is there before.
    assert set(new) - {"airflow_reindex_provider"} == {
        "airflow_reindex_provider.cli",
        "airflow_reindex_provider.cli.definition",
        "airflow_reindex_provider.cli.options",
        "airflow_reindex_provider.cli.words",
        "airflow_reindex_provider.control",
        "airflow_reindex_provider.control.acts",
        "airflow_reindex_provider.control.carried",
        "airflow_reindex_provider.control.status",
        "airflow_reindex_provider.control.status.records",
        "airflow_reindex_provider.core",
        "airflow_reindex_provider.core.errors",
    }
