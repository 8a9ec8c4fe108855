"""The built wheel, installed where the project's folder is not to be seen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]

# Parses the example Dags of the installed package, and says what it has found where.
LOOK = """
import json
from importlib.resources import files
from airflow.dag_processing.dagbag import DagBag
import airflow_reindex_provider
package = files("airflow_reindex_provider")
bag = DagBag(str(package / "example_dags"))
print(json.dumps({
    "file": airflow_reindex_provider.__file__,
    "typed": (package / "py.typed").is_file(),
    "dags": sorted(bag.dags),
    "errors": bag.import_errors,
}))
"""


def run(*command: str | Path, **options: object) -> str:
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)
    assert result.returncode == 0, f"{command}:\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel. The dependencies are those of this one, by way of a path file: path files in that
    folder do not count, so an editable install of the project in it is out of sight."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(PROJECT / ".cache" / "uv" / "bin"))
    if uv is None:
        pytest.skip("uv builds the wheel, and is not here: make build brings it in")
    folder = tmp_path_factory.mktemp("wheel")
    run(uv, "build", "--quiet", "--wheel", "--python", sys.executable, "--out-dir", folder, PROJECT)
    (wheel,) = folder.glob("airflow_reindex_provider-*.whl")
    environment = folder / "environment"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    run(uv, "pip", "install", "--quiet", "--no-deps", "--python", python, wheel)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment


def call(installed: Path, *arguments: str) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHONPATH"))}
    env |= {"AIRFLOW_HOME": str(installed / "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    return run(installed / "bin" / "python", "-P", *arguments, cwd=installed, env=env)


def test_airflow_lists_the_provider(installed: Path):
    """`airflow providers list` shows the provider with its version."""
    listed = json.loads(call(installed, "-m", "airflow", "providers", "list", "--output", "json"))

    (provider,) = [entry for entry in listed if entry["package_name"] == "airflow-reindex-provider"]
    assert provider["version"] == "0.1.0"


def test_the_wheel_carries_its_examples_and_types(installed: Path):
    """The example Dags are in the package and parse there; `py.typed` is beside them."""
    found = json.loads(call(installed, "-c", LOOK).splitlines()[-1])

    assert Path(found["file"]).is_relative_to(installed)
    assert found["typed"]
    assert found["errors"] == {}
    assert {"reindex_products", "reindex_customers", "example_reindex_operators"} <= set(found["dags"])
