"""The articles of ``passages_under_test`` in the search engines, in LanceDB and in Weaviate."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from passages_under_test import Articles, Seen, vector_of

from airflow_reindex_provider.core.embedding.passages import distinct, passages
from airflow_reindex_provider.core.protocols import Target
from airflow_reindex_provider.targets.elasticsearch import ElasticsearchTarget
from airflow_reindex_provider.targets.lance import LanceTarget
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.targets.search.target import SearchTarget
from airflow_reindex_provider.targets.weaviate import WeaviateTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.search_engine import SearchEngine
from airflow_reindex_provider.testing.weaviate_server import WeaviateServer

SEARCH_TARGETS: Mapping[str, type[SearchTarget]] = {
    "opensearch": OpenSearchTarget,
    "elasticsearch": ElasticsearchTarget,
}
KINDS = ("postgres", "opensearch", "elasticsearch", "lance", "weaviate")


class Shown(NamedTuple):
    """A document as a search finds it. :ivar passages: text and vector of each, in their order."""

    title: str | None
    body: str | None
    passages: Sequence[tuple[str, Sequence[float]]]


class ElsewhereArticles(Articles):
    @abstractmethod
    def target(self) -> Target: ...

    @abstractmethod
    def documents(self) -> Mapping[str, Shown]:
        """All that a search finds now, by the text of the key."""

    def require_true(self) -> None:
        """See :class:`Articles`."""
        embed = self.runner.embed
        assert embed is not None
        split, hashed = embed.split, embed.model.identity.hasher()
        found = self.documents()
        rows = self._connection.execute("SELECT id::text, title, body FROM article WHERE NOT gone").fetchall()
        assert found.keys() == {key for key, _, _ in rows}
        for key, title, body in rows:
            made = passages({"title": title, "body": body}, embed.fields, split=split, hashed=hashed)
            assert found[key][:2] == (title, body), key
            assert [text for text, _ in found[key].passages] == [p.text for p in distinct(made)], key
            for text, vector in found[key].passages:
                assert vector == pytest.approx(list(vector_of(text, embed.model.identity.dimensions)), rel=1e-5)


class SearchedArticles(ElsewhereArticles):
    """:ivar index: its public name."""

    def __init__(self, database: Database, engine: SearchEngine) -> None:
        self.engine = require_vectors(engine)
        self.index = f"articles-{uuid4().hex[:8]}"
        super().__init__(database)

    def target(self) -> Target:
        return SEARCH_TARGETS[self.engine.name](self.engine.name, index=self.index)

    def source(self) -> dict[str, dict[str, Any]]:
        found = self.engine.documents(self.index)
        assert found is not None
        return found

    def documents(self) -> Mapping[str, Shown]:
        return {id: _shown_by_engine(source) for id, source in self.source().items()}

    @contextmanager
    def searching(self) -> Iterator[Callable[[], Seen]]:
        # Elasticsearch leaves vectors out by default, from 9.2 on.
        whole = {"_source": {"exclude_vectors": False}} if self.engine.name == "elasticsearch" else {}
        body = {"size": 10_000, **whole}

        def search() -> Seen:
            hits = self.engine.call("POST", f"/{self.index}/_search", body)["hits"]["hits"]
            return _seen([(hit["_source"], [p["vector"] for p in hit["_source"]["passages"]]) for hit in hits])

        yield search

    def nearest(self, text: str) -> str:
        """The ``_id`` of the document with the passage that is nearest to the text."""
        vector = list(vector_of(text, self.model.identity.dimensions))
        if self.engine.name == "opensearch":
            inner = {"knn": {"passages.vector": {"vector": vector, "k": 1}}}
            body: dict[str, Any] = {"query": {"nested": {"path": "passages", "query": inner}}}
        else:
            body = {"knn": {"field": "passages.vector", "query_vector": vector, "k": 1, "num_candidates": 10}}
        hits = self.engine.call("POST", f"/{self.index}/_search", {**body, "size": 1})["hits"]["hits"]
        return str(hits[0]["_id"])


class LanceArticles(ElsewhereArticles):
    """In a folder to which the connection ``lake`` leads."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.folder = folder
        super().__init__(database)

    def target(self) -> Target:
        return LanceTarget("lake", index="articles")

    def documents(self) -> Mapping[str, Shown]:
        return {str(row["id"]): _shown_by_lance(row) for row in self._rows()}

    @contextmanager
    def searching(self) -> Iterator[Callable[[], Seen]]:
        yield lambda: _seen([(row, row["passage_vectors"]) for row in self._rows()])

    def _rows(self) -> list[dict[str, Any]]:
        import lancedb

        database = lancedb.connect(self.folder)
        (name,) = database.open_table("articles").to_arrow()["table"].to_pylist()
        found: list[dict[str, Any]] = (
            database.open_table(name).search().where("NOT _reindex_deleted").limit(10_000).to_list()
        )
        return found


class WeaviateArticles(ElsewhereArticles):
    """Seen over HTTP, so that a process which only looks has no threads of gRPC when it is forked."""

    def __init__(self, database: Database, server: WeaviateServer) -> None:
        self.server = server
        self.index = f"Articles{uuid4().hex[:8]}"
        super().__init__(database)

    def target(self) -> Target:
        return WeaviateTarget("weaviate", index=self.index)

    def documents(self) -> Mapping[str, Shown]:
        return {str(found["properties"]["id_"]): _shown_by_weaviate(found) for found in self._objects()}

    @contextmanager
    def searching(self) -> Iterator[Callable[[], Seen]]:
        yield lambda: _seen([(found["properties"], _vectors(found)) for found in self._objects()])

    def _objects(self) -> list[dict[str, Any]]:
        """By way of the alias, which each request follows once."""
        found = self.server.call("GET", f"/objects?class={self.index}&limit=1000&include=vector")["objects"]
        return [o for o in found if not o["properties"]["_reindex_deleted"]]


def articles_in(
    kind: str,
    database: Database,
    *,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Articles:
    """:param kind: one of ``KINDS``."""
    if kind == "postgres":
        return Articles(database)
    if kind == "lance":
        folder = tmp_path / "lake"
        folder.mkdir()
        monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "generic", "host": str(folder)}))
        return LanceArticles(database, folder)
    if kind == "weaviate":
        return WeaviateArticles(database, request.getfixturevalue("weaviate"))
    return SearchedArticles(database, request.getfixturevalue(kind))


def require_vectors(engine: SearchEngine) -> SearchEngine:
    """The older OpenSearch that tests run has no k-NN plugin."""
    if engine.name == "opensearch":
        plugins = (
            engine.call("GET", "/_nodes/_local/plugins?filter_path=nodes.*.plugins.name").get("nodes", {}).values()
        )
        if not any(plugin["name"] == "opensearch-knn" for node in plugins for plugin in node.get("plugins", ())):
            pytest.skip("this OpenSearch has no k-NN plugin")
    return engine


def _seen(found: Sequence[tuple[Mapping[str, Any], Sequence[Sequence[float]]]]) -> Seen:
    """:param found: documents, each with its vectors."""
    vectors = [vector for _, of_document in found for vector in of_document]
    coloured = sum("colour" in document for document, _ in found)
    return Seen(len(found), coloured, len(vectors), sum(vector[0] < 0 for vector in vectors))


def _shown_by_engine(source: Mapping[str, Any]) -> Shown:
    found = source.get("passages", ())
    return Shown(source["title"], source["body"], [(p["text"], p["vector"]) for p in found])


def _shown_by_lance(row: Mapping[str, Any]) -> Shown:
    texts = [passage["text"] for passage in row["passages"] or ()]
    return Shown(row["title"], row["body"], list(zip(texts, row["passage_vectors"] or (), strict=True)))


def _shown_by_weaviate(found: Mapping[str, Any]) -> Shown:
    texts = [passage["text"] for passage in found["properties"].get("passages") or ()]
    return Shown(
        found["properties"].get("title"),
        found["properties"].get("body"),
        list(zip(texts, _vectors(found), strict=True)),
    )


def _vectors(found: Mapping[str, Any]) -> Sequence[Sequence[float]]:
    vectors: Sequence[Sequence[float]] = (found.get("vectors") or {}).get("passages") or ()
    return vectors
