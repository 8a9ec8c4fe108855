"""The list of what the promises rest on names tests that exist, and every line of it says what holds it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
SECTION = re.search(r"^## What the promises rest on\n(.*?)^## ", PAGE, re.M | re.S)
ROWS = [line for line in (SECTION[1] if SECTION else "").splitlines() if line.startswith("| ")][1:]
TESTS = sorted(set(re.findall(r"`(tests/[^`]+)`", "\n".join(ROWS))))


def test_the_list_is_there() -> None:
    """With its rows."""
    assert len(ROWS) > 10


@pytest.mark.parametrize("row", ROWS)
def test_each_assumption_says_what_holds_it(row: str) -> None:
    """A test, or the page where people read of what nothing can check."""
    assumption, cost, held = (cell.strip() for cell in row.strip("|").split(" | "))
    assert assumption
    assert cost
    assert re.search(r"`tests/[^`]+::test_[^`]+`|\]\([a-z-]+\.md(#[^)]+)?\)", held), held


@pytest.mark.parametrize("name", TESTS)
def test_each_named_test_exists(name: str) -> None:
    """``file::test``, or ``file::class::test``."""
    path, *names = name.split("::")
    assert names, f"{name} names no test"
    found: list[ast.stmt] = ast.parse((ROOT / path).read_text()).body
    for part in names:
        match = [node for node in found if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == part]
        assert match, f"{path} has no {part}"
        found = match[0].body
