"""What a command prints: a table for people, lines to cut, JSON or YAML with every figure as it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.cli.simple_table import AirflowConsole
from airflow.utils import yaml
from rich.markup import escape

from airflow_reindex_provider.cli.figures import printable

Rows = Sequence[Mapping[str, Any]]


def show(record: Any, rows: Rows, output: str) -> None:
    """:param record: of JSON types, for ``json`` and ``yaml``. :param rows: for ``table`` and ``plain``."""
    show_tables(record, [rows], output)


def show_tables(record: Any, tables: Sequence[Rows], output: str) -> None:
    """The same with several tables, one below the other."""
    if output == "json":
        print(json.dumps(record, indent=2, ensure_ascii=False))
    elif output == "yaml":
        # By way of JSON: two fields that are one object would else be written as a reference.
        print(yaml.dump(json.loads(json.dumps(record)), sort_keys=False, allow_unicode=True), end="")
    else:
        for number, table in enumerate(tables):
            if number:
                print()
            _show_table(table, output)


def show_lines(record: Any, lines: Sequence[str], output: str) -> None:
    """As :func:`show`, with text in the place of a table."""
    if output in ("json", "yaml"):
        show(record, [], output)
    else:
        for line in lines:
            print(printable(line))


def _show_table(rows: Rows, output: str) -> None:
    # Texts of databases may have brackets, which are markup to a table.
    said = escape if output == "table" else str
    AirflowConsole(emoji=False).print_as(
        [{name: said(printable(str(value))) for name, value in row.items()} for row in rows], output
    )
