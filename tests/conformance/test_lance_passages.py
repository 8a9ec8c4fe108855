"""Passages in LanceDB, in the row of their document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import lancedb
import pytest

from airflow_reindex_provider.core.embedding.recipe import Recipe
from airflow_reindex_provider.core.model import Key, Schema
from airflow_reindex_provider.targets.lance import LanceTarget
from airflow_reindex_provider.testing.target_conformance import PassageConformance, text_schema
from airflow_reindex_provider.testing.target_suite.passages import embedded, served

pytestmark = pytest.mark.versions


class LancePassages:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def target(self, recipe: Recipe) -> LanceTarget:
        return LanceTarget("lake", index="products").with_passages(recipe)

    def schema(self) -> Schema:
        return text_schema()

    def bad_body(self) -> str:
        return "\ud83d"

    def table(self) -> lancedb.table.Table:
        database = lancedb.connect(self.folder)
        return database.open_table(database.open_table("products").to_arrow()["table"][0].as_py())

    def shown(self) -> Mapping[Key, Sequence[tuple[str, Sequence[float]]]]:
        return {
            (row["id"],): [
                (passage["text"], vector)
                for passage, vector in zip(row["passages"] or (), row["passage_vectors"] or (), strict=True)
            ]
            for row in self.table().search().where("NOT _reindex_deleted").to_list()
        }


class TestLancePassages(PassageConformance):
    @pytest.fixture
    def passage_index(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LancePassages:
        monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "generic", "host": str(tmp_path)}))
        return LancePassages(tmp_path)

    def test_a_search_finds_the_document_of_the_nearest_passage(self, passage_index: LancePassages) -> None:
        """Wherever it stands in it; documents without passages, and deleted ones, are no answer."""
        with served(passage_index) as write:
            write(embedded("1", 1, "a b"), embedded("2", 1, "c lighthouse"), embedded("3", 1, ""))
        nearest = passage_index.shown()[("2",)][1][1]
        found = passage_index.table().search(nearest, vector_column_name="passage_vectors").distance_type("cosine")
        assert [row["id"] for row in found.where("NOT _reindex_deleted").limit(2).to_list()] == ["2", "1"]
