"""What the package tells Airflow and installers of itself is true."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest

import airflow_reindex_provider
from airflow_reindex_provider.get_provider_info import get_provider_info

pytestmark = pytest.mark.versions

PYPROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
SCHEMA = json.loads((Path(airflow.__path__[0]) / "provider_info.schema.json").read_text())


def strict(schema: Any) -> Any:
    """The schema with every object closed: Airflow itself ignores an unknown key in silence."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: strict(part) for name, part in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        closed.setdefault("additionalProperties", False)
    return closed


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts(part)


def test_airflow_knows_every_key_of_the_provider_info():
    """The provider info fits the schema of the installed Airflow, with no key that the schema does not name."""
    jsonschema.validate(get_provider_info(), strict(SCHEMA))


def test_an_unknown_key_would_be_found():
    """The check above fails for a key that Airflow does not know, at the top and further down."""
    info = get_provider_info()
    with pytest.raises(jsonschema.ValidationError, match="'operator' was unexpected"):
        jsonschema.validate(info | {"operator": []}, strict(SCHEMA))
    with pytest.raises(jsonschema.ValidationError, match="'python-module' was unexpected"):
        jsonschema.validate(info | {"hooks": [{**info["hooks"][0], "python-module": "x"}]}, strict(SCHEMA))


def test_every_dotted_path_imports():
    """Every module or class that the provider info and the entry points name is there."""
    points = [path for group in PYPROJECT["project"]["entry-points"].values() for path in group.values()]
    paths = [text for text in texts(get_provider_info()) if text.startswith("airflow_reindex_provider")]
    assert len(paths) > 5
    for path in paths:
        try:
            import_module(path)
        except ModuleNotFoundError:
            module, _, name = path.rpartition(".")
            assert hasattr(import_module(module), name), path
    for point in points:
        module, _, name = point.partition(":")
        assert callable(getattr(import_module(module), name)), point


@pytest.mark.parametrize("kind", ["operators", "sensors", "triggers", "hooks"])
def test_every_module_with_a_public_part_is_listed(kind: str):
    """The provider info names all modules that have an operator, a sensor, a trigger or a hook; `base` modules are the package's
    own business."""
    package = Path(airflow_reindex_provider.__path__[0])
    made = re.compile(rf"^class \w+{kind.removesuffix('s').capitalize()}\b", re.MULTILINE)
    there = {
        f"airflow_reindex_provider.{kind}.{path.stem}"
        for path in (package / kind).glob("*.py")
        if path.stem not in ("__init__", "base") and made.search(path.read_text())
    }

    assert there == {module for entry in get_provider_info()[kind] for module in entry["python-modules"]}


def test_names_and_version_agree():
    """The distribution is called what the provider info says, as Airflow demands; the version is stated alike twice."""
    project = PYPROJECT["project"]

    assert project["name"] == get_provider_info()["package-name"]
    assert project["version"] == airflow_reindex_provider.__version__


def test_every_public_name_is_there():
    """What the package lists as its public API can be imported from it, and an unknown name cannot."""
    for name in airflow_reindex_provider.__all__:
        assert getattr(airflow_reindex_provider, name) is not None
    assert dir(airflow_reindex_provider) == sorted(airflow_reindex_provider.__all__)
    with pytest.raises(AttributeError, match="no attribute 'NoSuchTarget'"):
        _ = airflow_reindex_provider.NoSuchTarget
