"""LanceDB keeps the promises of a target, on real files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lancedb
import pytest

from airflow_reindex_provider.core.model import Chunk, Document, Format, Key, Position, Schema
from airflow_reindex_provider.targets.lance import LanceTarget
from airflow_reindex_provider.testing.target_conformance import TargetConformance, text_schema

pytestmark = pytest.mark.versions


class LanceIndex:
    """:ivar folder: of the database."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.target = LanceTarget("lake", index="products", **options)

    def schema(self) -> Schema:
        return text_schema()

    def published(self) -> Mapping[Key, str] | None:
        """As docs/lance.md tells a reader to do it."""
        database = lancedb.connect(self.folder)
        if "products" not in database.list_tables().tables:
            return None
        (name,) = database.open_table("products").to_arrow()["table"].to_pylist() or [None]
        if name is None:
            return None
        rows = database.open_table(name).search().where("NOT _reindex_deleted").to_list()
        found = {(row["id"],): row["body"] for row in rows}
        assert len(found) == len(rows)
        return found

    def chunk(self, documents: Sequence[Document], format: Format) -> Chunk:
        return Chunk(Position("1"), format, list(documents))

    def bad_body(self) -> str:
        # Half of a surrogate pair: no character, so no text either.
        return "\ud83d"

    def occupy(self) -> None:
        lancedb.connect(self.folder).create_table("products", [{"mine": 1}])

    def occupant_is_unharmed(self) -> bool:
        return lancedb.connect(self.folder).open_table("products").to_arrow().to_pylist() == [{"mine": 1}]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a database that the connection ``lake`` names."""
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "generic", "host": str(tmp_path)}))
    return tmp_path


class TestLance(TargetConformance):
    @pytest.fixture
    def index(self, folder: Path) -> LanceIndex:
        return LanceIndex(folder)
