"""Weaviate keeps the promises of a target, on a real server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from airflow_reindex_provider.core.embedding.recipe import Recipe
from airflow_reindex_provider.core.model import Chunk, Document, Format, Key, Position, Schema
from airflow_reindex_provider.targets.weaviate import WeaviateTarget
from airflow_reindex_provider.targets.weaviate.server import Server
from airflow_reindex_provider.testing.target_conformance import (
    PassageConformance,
    TargetConformance,
    text_schema,
)
from airflow_reindex_provider.testing.target_suite.passages import embedded, served
from airflow_reindex_provider.testing.weaviate_server import WeaviateServer

pytestmark = pytest.mark.versions


class WeaviateIndex:
    """:param name: the public one; whatever begins with it is dropped first."""

    def __init__(self, server: WeaviateServer, name: str) -> None:
        server.clear(name)
        self.server = server
        self.target = WeaviateTarget("weaviate", index=name)

    def schema(self) -> Schema:
        return text_schema()

    def objects(self) -> list[dict[str, Any]] | None:
        """Over HTTP, as docs/weaviate.md tells a reader to find them."""
        if self.server.call("GET", f"/aliases/{self.target.index}") is None:
            return None
        found = self.server.call("GET", f"/objects?class={self.target.index}&limit=1000&include=vector")["objects"]
        return [o for o in found if not o["properties"]["_reindex_deleted"]]

    def published(self) -> Mapping[Key, str] | None:
        found = self.objects()
        return None if found is None else {(o["properties"]["id_"],): o["properties"]["body"] for o in found}

    def chunk(self, documents: Sequence[Document], format: Format) -> Chunk:
        return Chunk(Position("1"), format, list(documents))

    def bad_body(self) -> str:
        # Half of a surrogate pair: no character, so no text either.
        return "\ud83d"

    def occupy(self) -> None:
        self.server.call("POST", "/schema", {"class": self.target.index, "description": "mine", "vectorizer": "none"})

    def occupant_is_unharmed(self) -> bool:
        return bool(self.server.call("GET", f"/schema/{self.target.index}")["description"] == "mine")


class PassagesView:
    """Documents whose passages are looked at."""

    def __init__(self, index: WeaviateIndex) -> None:
        self.index = index

    def target(self, recipe: Recipe) -> WeaviateTarget:
        return self.index.target.with_passages(recipe)

    def schema(self) -> Schema:
        return text_schema()

    def bad_body(self) -> str:
        return self.index.bad_body()

    def shown(self) -> Mapping[Key, Sequence[tuple[str, Sequence[float]]]]:
        return {
            (o["properties"]["id_"],): [
                (passage["text"], vector)
                for passage, vector in zip(
                    o["properties"].get("passages") or (),
                    (o.get("vectors") or {}).get("passages") or (),
                    strict=True,
                )
            ]
            for o in self.index.objects() or ()
        }


class TestWeaviate(TargetConformance):
    @pytest.fixture
    def index(self, weaviate: WeaviateServer) -> WeaviateIndex:
        return WeaviateIndex(weaviate, "Products")


class TestWeaviatePassages(PassageConformance):
    @pytest.fixture
    def passage_index(self, weaviate: WeaviateServer) -> PassagesView:
        return PassagesView(WeaviateIndex(weaviate, "Leaflets"))

    def test_a_search_finds_the_document_of_the_nearest_passage(self, passage_index: PassagesView) -> None:
        """As docs/vectors.md tells it: wherever the passage stands; documents without any, and deleted ones, are no answer."""
        with served(passage_index) as write:
            write(
                embedded("1", 1, "a b"), embedded("2", 1, "c lighthouse"), embedded("3", 1, ""), embedded("4", 1, "d")
            )
            write(Document(("4",), 2, None))
        nearest = passage_index.shown()[("2",)][1][1]
        with Server.opened("weaviate", "a test") as server:
            found = server.client.collections.use("Leaflets").query.near_vector(
                near_vector={"passages": [list(nearest)]}, target_vector="passages", limit=5
            )
        assert [o.properties["id_"] for o in found.objects] == ["2", "1"]
