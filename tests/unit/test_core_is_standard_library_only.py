"""core/ loads nothing but the standard library, and the linter keeps it so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.versions

ROOT = Path(__file__).parents[2]

LOADED_BESIDES_THE_STANDARD_LIBRARY = """
import importlib, pkgutil, sys
before = set(sys.modules)
import airflow_reindex_provider.core as core
for module in pkgutil.walk_packages(core.__path__, core.__name__ + "."):
    importlib.import_module(module.name)
tops = {name.partition(".")[0] for name in set(sys.modules) - before}
others = tops - sys.stdlib_module_names - {"airflow_reindex_provider"}
# The interpreter's own build settings, in a module named after the platform.
print(*sorted(name for name in others if not name.startswith("_sysconfigdata")))
print(sum(name.startswith(core.__name__ + ".") for name in sys.modules))
"""


def test_importing_all_of_core_loads_no_other_package() -> None:
    """In a fresh process that has imported every module of core, nothing but ours and the standard library is there."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED_BESIDES_THE_STANDARD_LIBRARY],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    others, modules = done.stdout.split("\n")[:2]
    assert others == ""
    assert int(modules) >= len(list((ROOT / "airflow_reindex_provider/core").glob("[a-z]*.py")))


def lint(code: str, file: str) -> str:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ruff",
            "check",
            "--no-cache",
            "--output-format=concise",
            f"--stdin-filename={file}",
            "-",
        ],
        cwd=ROOT,
        input=code,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


@pytest.mark.parametrize("module", ["airflow", "airflow.sdk", "psycopg", "pendulum"])
def test_the_linter_refuses_other_packages_in_core(module: str) -> None:
    """In core the import is an error that says why; the same line elsewhere is none."""
    code = f"import {module}\n\nprint({module})\n"
    assert "standard library only" in lint(code, "airflow_reindex_provider/core/x.py")
    assert "standard library only" not in lint(code, "airflow_reindex_provider/targets/x.py")
